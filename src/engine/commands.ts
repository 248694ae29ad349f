/** All iommufd commands of a machine without the test interface: one line each. */
import type { UserVa } from '../abi/brands.ts'
import { type Command, UnknownRequest } from './command.ts'
import type { Context } from './context.ts'
import type { Call } from './ports.ts'
import { type Result, refuse } from './reason.ts'

export const commands: readonly Command[] = []

/** Answers the VFIO container requests (02 §3), and ENOTTY to everything else. */
export type ContainerIoctl = (
  context: Context,
  call: Call,
  request: number,
  argument: UserVa,
) => Result<number>

export const containerIoctl: ContainerIoctl = (_context, _call, request) =>
  refuse(UnknownRequest, { request })
