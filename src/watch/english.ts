import { hex } from '../abi/brands.ts'

/** `a`, `a and b`, `a, b and c`. */
export const list = (items: readonly string[]): string =>
  items.length < 2
    ? (items[0] ?? 'none')
    : `${items.slice(0, -1).join(', ')} and ${items[items.length - 1]}`

/** `1 call`, `2 calls`. */
export const count = (number: number, singular: string, plural = `${singular}s`): string =>
  `${number} ${number === 1 ? singular : plural}`

/** `[0x1000, 0x1fff]` */
export const rangeText = ({ start, last }: { start: bigint; last: bigint }): string =>
  `[${hex(start)}, ${hex(last)}]`

/** `[0x1000, 0x1fff] of memory of process 12 (prog) at 0x7f0000001000` */
export const areaText = (area: { start: bigint; last: bigint; source: string }): string =>
  `${rangeText(area)} of ${area.source}`

const objectNames: Readonly<Record<string, string>> = {
  ioas: 'IOAS',
  'hwpt-paging': 'HWPT',
  'hwpt-nested': 'nested HWPT',
  fault: 'fault queue',
  viommu: 'vIOMMU',
  vdevice: 'vDEVICE',
  veventq: 'event queue',
  'hw-queue': 'hardware queue',
  selftest: 'test object',
}

/** `IOAS 3` */
export const objectText = ({ type, id }: { type: string; id: number }): string =>
  `${objectNames[type] ?? type} ${id}`

const UNITS: readonly (readonly [bigint, string])[] = [
  [1n << 40n, 'TiB'],
  [1n << 30n, 'GiB'],
  [1n << 20n, 'MiB'],
  [1n << 10n, 'KiB'],
]

/** `4 KiB`, `1 byte`, `6.5 MiB`. */
export const bytesText = (bytes: bigint): string => {
  for (const [unit, name] of UNITS) {
    if (bytes < unit) continue
    const tenths = (bytes * 10n) / unit
    return `${tenths / 10n}${tenths % 10n === 0n ? '' : `.${tenths % 10n}`} ${name}`
  }
  return `${bytes} byte${bytes === 1n ? '' : 's'}`
}
