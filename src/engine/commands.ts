/** All iommufd commands of a machine without the test interface: one line each. */
import type { UserVa } from '../abi/brands.ts'
import type { Command } from './command.ts'
import { vfioIoas } from './compat-ioas.ts'
import type { Context } from './context.ts'
import type { Call } from './ports.ts'
import type { Result } from './reason.ts'
import { vfioContainerIoctl } from './vfio-compat.ts'

export const commands: readonly Command[] = [vfioIoas]

/** Answers the VFIO container requests (02 §3), and ENOTTY to everything else. */
export type ContainerIoctl = (
  context: Context,
  call: Call,
  request: number,
  argument: UserVa,
) => Result<number>

export const containerIoctl: ContainerIoctl = vfioContainerIoctl
