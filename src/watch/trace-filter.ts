/**
 * Which calls a trace shows, in strace's manner:
 *
 *     -e IOMMU_IOAS_MAP,IOMMU_IOAS_UNMAP    only these; IOAS_MAP, ioas_map and 0x3b85 are the same call
 *     -e trace=ioctl                        a system call: every ioctl
 *     -e 'trace=!IOMMU_IOAS_MAP'            everything but these
 *     -e 'IOMMU_HWPT_*'                     a pattern
 *     -e status=failed                      only what failed; status=successful
 *
 * Several filters add up: what any of them names is shown, less what any of them excludes.
 */
import type { Ioctl } from '../abi/ioctl.ts'
import {
  containerIoctls,
  deviceIoctls,
  groupIoctls,
  iommufdCommands,
  migrationIoctls,
} from '../abi/tables.ts'
import type { EngineEvent } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import { FilterError } from './filter-error.ts'

export type CallEvent = EngineEvent & { readonly type: 'call' }
export type Operation = CallEvent['operation']

const ioctls: readonly Ioctl[] = [
  ...iommufdCommands,
  ...containerIoctls,
  ...groupIoctls,
  ...deviceIoctls,
  ...migrationIoctls,
]

const operations: readonly Operation[] = ['open', 'ioctl', 'read', 'write', 'mmap', 'poll']

const spellings: ReadonlyMap<string, Operation> = new Map([
  ...operations.map((operation) => [operation, operation] as const),
  ['openat', 'open'],
  ['openat2', 'open'],
  ['pread64', 'read'],
  ['pwrite64', 'write'],
])

interface Term {
  readonly exclude: boolean
  readonly matches: (event: CallEvent) => boolean
}

/** Does the trace show this call? */
export type TraceFilter = (event: CallEvent) => boolean

/**
 * Makes one filter of all `-e` arguments; shows everything when there are none.
 * Throws FilterError for a name that no call has.
 */
export const traceFilter = (expressions: readonly string[]): TraceFilter => {
  const terms: Term[] = []
  const statuses: ((event: CallEvent) => boolean)[] = []
  for (const expression of expressions) {
    const status = /^status=(.*)$/.exec(expression)
    if (status) statuses.push(statusTest(status[1] ?? ''))
    else terms.push(...parseTerms(expression.replace(/^trace=/, '')))
  }
  const included = terms.filter((term) => !term.exclude)
  const excluded = terms.filter((term) => term.exclude)
  return (event) =>
    (included.length === 0 || included.some((term) => term.matches(event))) &&
    !excluded.some((term) => term.matches(event)) &&
    (statuses.length === 0 || statuses.some((test) => test(event)))
}

const statusTest = (status: string): ((event: CallEvent) => boolean) => {
  if (status === 'failed') return (event) => event.result instanceof Refusal
  if (status === 'successful') return (event) => !(event.result instanceof Refusal)
  throw new FilterError(
    `There is no status '${status}' to filter by: say status=failed or status=successful.`,
  )
}

const parseTerms = (text: string): Term[] => {
  // As in strace, one leading ! negates the whole list.
  const exclude = text.startsWith('!')
  const names = (exclude ? text.slice(1) : text).split(',').map((name) => name.trim())
  return names
    .filter((name) => name !== 'all' || exclude)
    .map((name) => ({ exclude, matches: nameTest(name) }))
}

const nameTest = (name: string): ((event: CallEvent) => boolean) => {
  if (name === 'all') return () => true
  const operation = spellings.get(name.toLowerCase())
  if (operation) return (event) => event.operation === operation
  if (/^(0x[0-9a-f]+|\d+)$/i.test(name)) {
    const number = Number(name)
    return (event) => event.operation === 'ioctl' && event.request === number
  }
  const pattern = namePattern(name)
  const numbers = new Set(
    ioctls.filter((ioctl) => pattern.test(ioctl.name)).map(({ request }) => request),
  )
  if (numbers.size === 0) throw new FilterError(unknownName(name))
  return (event) =>
    event.operation === 'ioctl' && event.request !== undefined && numbers.has(event.request)
}

/** `IOAS_MAP` is IOMMU_IOAS_MAP, `MAP_DMA` is VFIO_IOMMU_MAP_DMA: the prefix may be left out. */
const namePattern = (name: string): RegExp => {
  const literal = name.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')
  return new RegExp(`^(IOMMU_|VFIO_|VFIO_IOMMU_)?${literal}$`, 'i')
}

const unknownName = (name: string): string => {
  const near = ioctls
    .map((ioctl) => ioctl.name)
    .filter((known) => name.length > 2 && known.includes(name.toUpperCase()))
  const hint =
    near.length > 0
      ? `Did you mean ${near.slice(0, 5).join(', ')}?`
      : `Names are those of the headers, such as IOMMU_IOAS_MAP, or ${operations.join(', ')}.`
  return `There is no call named '${name}' to filter by. ${hint}`
}
