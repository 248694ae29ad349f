/** One call as one line, in strace's manner, decoded by the declarations of abi/. */
import { hex } from '../abi/brands.ts'
import { errnoName } from '../abi/errno.ts'
import { formatArgument, structOf } from '../abi/format.ts'
import type { FileKind, Ioctl } from '../abi/ioctl.ts'
import { formatStruct, type PlacedField } from '../abi/layout.ts'
import { ioctlOn } from '../abi/tables.ts'
import type { Stamp } from '../engine/observer.ts'
import { Refusal } from '../engine/reason.ts'
import type { CallEvent } from './trace-filter.ts'

/**
 *     4711 ioctl(3</dev/iommu>, IOMMU_IOAS_MAP, {flags=…, ioas_id=1, …}) = 0 => {iova=0x1000} <0.000012>
 *
 * Process (and thread where it differs), call, arguments by field name, result or errno with its
 * reason, what the caller got back, seconds taken.
 */
export const traceLine = (event: CallEvent, stamp: Stamp | undefined): string => {
  const who = event.tid === event.pid ? `${event.pid}` : `${event.pid}/${event.tid}`
  const ioctl = declarationOf(event)
  const taken = stamp?.took === undefined ? '' : ` <${(stamp.took / 1e9).toFixed(6)}>`
  return `${who} ${invocation(event, stamp, ioctl)} = ${resultText(event.result)}${outputText(event, ioctl)}${taken}`
}

const invocation = (
  event: CallEvent,
  stamp: Stamp | undefined,
  ioctl: Ioctl | undefined,
): string => {
  const file = fileText(event, stamp)
  const argument = event.argument ?? 0n
  const offset = event.offset === undefined ? '' : `, ${hex(event.offset)}`
  switch (event.operation) {
    case 'open':
      return `open("${event.file ?? ''}")`
    case 'ioctl':
      return `ioctl(${file}, ${ioctl?.name ?? hex(event.request ?? 0)}, ${ioctlArgument(event, ioctl)})`
    case 'read':
    case 'write':
      return `${event.offset === undefined ? '' : 'p'}${event.operation}(${file}, ${argument}${offset})`
    case 'mmap':
      return `mmap(${file}, ${hex(argument)}${offset})`
    case 'poll':
      return `poll(${file})`
  }
}

const fileText = (event: CallEvent, stamp: Stamp | undefined): string =>
  `${stamp?.fd ?? ''}${event.file === undefined ? '' : `<${event.file}>`}`

const NO_BYTES = new Uint8Array()

const ioctlArgument = (event: CallEvent, ioctl: Ioctl | undefined): string => {
  const { argument = 0n, input } = event
  if (ioctl?.argument === 'none') return hex(argument)
  if (ioctl?.argument === 'value') return formatArgument(ioctl, argument, NO_BYTES)
  // What could not be read, or is no structure, is shown as the address that was passed.
  if (ioctl?.struct === undefined || input === undefined)
    return argument === 0n ? 'NULL' : hex(argument)
  return formatArgument(ioctl, argument, input, { show: 'in' })
}

const resultText = (result: number | Refusal): string =>
  result instanceof Refusal ? `-1 ${errnoName(result.errno)} (${result.say()})` : String(result)

/** The fields that the kernel wrote: those only written, and those that it changed. */
const outputText = (event: CallEvent, ioctl: Ioctl | undefined): string => {
  const { input, output } = event
  if (ioctl === undefined || output === undefined) return ''
  const struct = structOf(ioctl, input ?? output)
  if (struct === undefined) return ''
  const before: Readonly<Record<string, unknown>> = input === undefined ? {} : struct.decode(input)
  const after: Readonly<Record<string, unknown>> = struct.decode(output)
  const written: Record<string, unknown> = {}
  for (const field of struct.fields)
    if (isNews(field, before[field.name], after[field.name]))
      written[field.name] = after[field.name]
  return Object.keys(written).length === 0 ? '' : ` => ${formatStruct(struct, written)}`
}

const isNews = (field: PlacedField, before: unknown, after: unknown): boolean =>
  field.direction === 'out' ||
  (field.direction === 'inout' && field.format(before) !== field.format(after))

/** What an ioctl is. The same number means different things on different files; the file's name tells which. */
export const declarationOf = ({ operation, file, request }: CallEvent): Ioctl | undefined => {
  if (operation !== 'ioctl' || request === undefined) return undefined
  for (const kind of kindsOf(file)) {
    const ioctl = ioctlOn(kind, request)
    if (ioctl !== undefined) return ioctl
  }
  return undefined
}

const kindsOf = (file: string | undefined): readonly FileKind[] => {
  if (file === '/dev/iommu' || file === '/dev/vfio/vfio') return ['iommufd', 'container']
  return file !== undefined && /^\/dev\/vfio\/(noiommu-)?\d+$/.test(file)
    ? ['group']
    : ['device', 'migration']
}
