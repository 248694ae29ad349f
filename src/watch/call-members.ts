/** What a call event is a call of, with its structure decoded by the declarations of abi/. */
import { hex } from '../abi/brands.ts'
import { structOf } from '../abi/format.ts'
import { decode } from '../abi/layout.ts'
import type { CallEvent } from './trace-filter.ts'
import { declarationOf } from './trace-line.ts'

/** `IOMMU_IOAS_MAP`, `open`, `ioctl 0x3b99`. */
export const callName = (event: CallEvent): string => {
  if (event.operation !== 'ioctl') return event.operation
  return declarationOf(event)?.name ?? `ioctl ${hex(event.request ?? 0)}`
}

/** Members of a structure by name. */
export type Members = Readonly<Record<string, unknown>>

const NO_MEMBERS: Members = {}

/** The structure as the program passed it, and as it got it back; without members where there is none. */
export const membersOf = (
  event: CallEvent,
): { readonly input: Members; readonly output: Members } => {
  const ioctl = declarationOf(event)
  const members = (bytes: Uint8Array | undefined): Members => {
    const struct = bytes && ioctl && structOf(ioctl, bytes)
    return bytes === undefined || struct === undefined ? NO_MEMBERS : decode(struct, bytes)
  }
  return { input: members(event.input), output: members(event.output) }
}

/** A member that holds an address or a length. */
export const bigMember = (members: Members, name: string): bigint | undefined => {
  const value = members[name]
  return typeof value === 'bigint' ? value : undefined
}

/** A member that holds an ID, flags or a small number. */
export const numberMember = (members: Members, name: string): number | undefined => {
  const value = members[name]
  return typeof value === 'number' ? value : undefined
}

/** What a call is about: `length` bytes at `iova`, in or on `objects`. */
export interface CallSubjects {
  /** Members that the caller filled in with the ID of an object. */
  readonly objects: readonly { readonly member: string; readonly id: number }[]
  readonly iova: bigint | undefined
  readonly length: bigint | undefined
}

const NO_SUBJECTS: CallSubjects = { objects: [], iova: undefined, length: undefined }

export const subjectsOf = (event: CallEvent): CallSubjects => {
  const { input } = event
  const ioctl = declarationOf(event)
  const struct = input && ioctl && structOf(ioctl, input)
  if (input === undefined || struct === undefined) return NO_SUBJECTS
  const values: Members = decode(struct, input)
  const passed = struct.fields.filter(({ direction }) => direction !== 'out')
  const first = (subject: string): bigint | undefined => {
    const field = passed.find((each) => each.subject === subject)
    return field && bigMember(values, field.name)
  }
  return {
    objects: passed.flatMap(({ subject, name }) => {
      const id = subject === 'object' ? numberMember(values, name) : undefined
      return id ? [{ member: name, id }] : []
    }),
    iova: first('iova'),
    length: first('length'),
  }
}

/** `IOMMU_IOAS_MAP of 0x1000 bytes at IOVA 0x10000 (ioas_id 1)` */
export const callText = (event: CallEvent): string => {
  const { objects, iova, length } = subjectsOf(event)
  const what = length === undefined ? '' : ` of ${hex(length)} bytes`
  const where = iova === undefined ? '' : ` at IOVA ${hex(iova)}`
  const ids = objects.map(({ member, id }) => `${member} ${id}`).join(', ')
  const file = event.operation === 'ioctl' || event.file === undefined ? '' : ` of ${event.file}`
  return `${callName(event)}${file}${what}${where}${ids === '' ? '' : ` (${ids})`}`
}
