/** The bits of page-table entries by their names in the manuals, by format (07 §2 to §7). */
import { hex } from '../../abi/brands.ts'
import type { WalkedLevel } from './table-walk.ts'

export interface EntryBit {
  readonly name: string
  /** Empty for a single bit, whose name says it. */
  readonly value: string
  readonly meaning: string
  readonly set: boolean
}

interface Field {
  readonly name: string
  readonly high: number
  readonly low: number
  readonly meaning: string
  /** Only of leaves, or only of what points to a table. */
  readonly only?: 'leaf' | 'table'
}

const bit = (at: number, name: string, meaning: string, only?: Field['only']): Field => ({
  name,
  high: at,
  low: at,
  meaning,
  ...(only === undefined ? {} : { only }),
})

const bits = (high: number, low: number, name: string, meaning: string): Field => ({
  name,
  high,
  low,
  meaning,
})

const vtdSecondStage: readonly Field[] = [
  bit(0, 'R', 'Devices may read.'),
  bit(1, 'W', 'Devices may write.'),
  bit(7, 'PS', 'A large page: the walk ends here.'),
  bit(8, 'A', 'Accessed: a device used it.', 'leaf'),
  bit(9, 'D', 'Dirty: a device wrote.', 'leaf'),
  bit(11, 'SNP', 'Accesses snoop the processor caches.', 'leaf'),
  bits(51, 12, 'ADDR', 'Physical address of the page or of the next table.'),
]

const amd: readonly Field[] = [
  bit(0, 'PR', 'Present.'),
  bit(5, 'A', 'Accessed.', 'leaf'),
  bit(6, 'D', 'Dirty: a device wrote.', 'leaf'),
  bits(
    11,
    9,
    'NextLevel',
    '0: this entry translates; 7: it does, with its size coded in the address; else the level of the next table.',
  ),
  bits(51, 12, 'ADDR', 'Physical address, with the size code where NextLevel is 7.'),
  bit(60, 'FC', 'Force coherent: accesses snoop.', 'leaf'),
  bit(61, 'IR', 'Devices may read.'),
  bit(62, 'IW', 'Devices may write.'),
]

const x86: readonly Field[] = [
  bit(0, 'P', 'Present.'),
  bit(1, 'R/W', 'Devices may write.'),
  bit(2, 'U/S', 'User pages: requests without privilege may use it.'),
  bit(5, 'A', 'Accessed.'),
  bit(6, 'D', 'Dirty: a device wrote.', 'leaf'),
  bit(7, 'PS', 'A large page: the walk ends here.'),
  bits(51, 12, 'ADDR', 'Physical address of the page or of the next table.'),
  bit(63, 'XD', 'Execution is disabled.', 'leaf'),
]

const arm = (stage: 1 | 2): readonly Field[] => [
  bit(0, 'VALID', 'Present.'),
  bit(1, 'TYPE', 'Table (or, at the last level, page) rather than block.'),
  ...(stage === 1
    ? [
        { ...bits(4, 2, 'AttrIndx', 'Memory attributes, by index.'), only: 'leaf' as const },
        bit(6, 'AP[1]', 'Requests without privilege may use it.', 'leaf'),
        bit(7, 'AP[2]', 'Read-only (or, with DBM, clean).', 'leaf'),
        { ...bits(9, 8, 'SH', 'Shareability: 2 outer, 3 inner.'), only: 'leaf' as const },
        bit(10, 'AF', 'Access flag.', 'leaf'),
        bit(11, 'nG', 'Not global.', 'leaf'),
        bit(51, 'DBM', 'Dirty-bit modifier: a write clears AP[2].', 'leaf'),
      ]
    : [
        { ...bits(5, 2, 'MemAttr', 'Memory attributes.'), only: 'leaf' as const },
        bit(6, 'S2AP[0]', 'Devices may read.', 'leaf'),
        bit(7, 'S2AP[1]', 'Devices may write.', 'leaf'),
        { ...bits(9, 8, 'SH', 'Shareability: 2 outer, 3 inner.'), only: 'leaf' as const },
        bit(10, 'AF', 'Access flag.', 'leaf'),
      ]),
  bits(47, 12, 'ADDR', 'Physical address of the page, block or next table.'),
]

const riscv: readonly Field[] = [
  bit(0, 'V', 'Valid.'),
  bit(1, 'R', 'Devices may read.', 'leaf'),
  bit(2, 'W', 'Devices may write.', 'leaf'),
  bit(3, 'X', 'Devices may execute.', 'leaf'),
  bit(4, 'U', 'User page.', 'leaf'),
  bit(6, 'A', 'Accessed.', 'leaf'),
  bit(7, 'D', 'Dirty.', 'leaf'),
  bits(53, 10, 'PPN', 'Physical page number of the page or of the next table.'),
  bit(63, 'N', 'One of 16 entries that make a 64 KiB page.', 'leaf'),
]

const formats: readonly (readonly [RegExp, readonly Field[]])[] = [
  [/^vtd/, vtdSecondStage],
  [/^amdv1/, amd],
  [/^x86/, x86],
  [/^arm-stage1/, arm(1)],
  [/^arm-stage2/, arm(2)],
  [/^riscv/, riscv],
]

/** The entry's fields, from the lowest bit; none for a format without names here. */
export const bitsOf = (format: string, { word, kind }: WalkedLevel): readonly EntryBit[] => {
  const fields = formats.find(([pattern]) => pattern.test(format))?.[1] ?? []
  return fields
    .filter(({ only }) => only === undefined || only === kind)
    .map(({ name, high, low, meaning }) => {
      const value = (word >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n)
      const single = high === low
      return {
        name,
        value: single ? '' : name === 'ADDR' ? hex(value << BigInt(low)) : hex(value),
        meaning: `Bit${single ? ` ${low}` : `s ${high}:${low}`}. ${meaning}`,
        set: value !== 0n,
      }
    })
}
