/** Plays calls on a page table in the notation of the worked examples (07 §14.1). */
import { byteLength, iova, physAddr } from '../../src/abi/brands.ts'
import { Refusal } from '../../src/engine/reason.ts'
import type { PageTable } from '../../src/iommu/page-table.ts'
import { TableMemory } from '../../src/iommu/table-memory.ts'

export type Prot = 'RW' | 'R' | 'W' | ''
export const protection = (prot: Prot) => ({
  read: prot.includes('R'),
  write: prot.includes('W'),
  mmio: false,
})

/** A table with calls in the notation of the examples. */
export class Play {
  readonly table: PageTable
  constructor(table: PageTable) {
    this.table = table
  }
  map(at: bigint, pa: bigint, length: bigint, prot: Prot): string | 0 {
    const result = this.table.map(iova(at), physAddr(pa), byteLength(length), protection(prot))
    return result instanceof Refusal ? result.kind.errno : 0
  }
  unmap(at: bigint, length: bigint): bigint {
    return this.table.unmap(iova(at), byteLength(length))
  }
  /** The word at `level` on the way to an IOVA. */
  word(at: bigint, level: number): bigint | undefined {
    return this.table.walk(iova(at)).find((step) => step.level === level)?.word
  }
  words(from: bigint, count: number, step: bigint, level: number): (bigint | undefined)[] {
    return Array.from({ length: count }, (_, n) => this.word(from + BigInt(n) * step, level))
  }
  phys(at: bigint): bigint | undefined {
    return this.table.iovaToPhys(iova(at))
  }
  dirty(at: bigint, length: bigint, clear = false): [bigint, bigint][] {
    const spans: [bigint, bigint][] = []
    this.table.readAndClearDirty(iova(at), byteLength(length), clear, (start, size) =>
      spans.push([start, size]),
    )
    return spans
  }
}

/** Tables at 0x100000, 0x101000, ... as the examples have them. */
export const memory = (): TableMemory => new TableMemory({ base: physAddr(0x100000n) })
