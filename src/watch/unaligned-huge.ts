import { hex } from '../abi/brands.ts'
import { bytesText, rangeText } from './english.ts'
import type { Finder, FinderKind, Known, Report } from './finder.ts'
import type { FindingKind } from './finding.ts'
import { type AreaHistory, areaOf } from './history.ts'

const kind: FindingKind = {
  code: 'unaligned-huge-page',
  severity: 'note',
  title:
    'A large mapping whose IOVA and memory are aligned differently, so that no large page fits.',
  why:
    'The IOMMU can use a 2 MiB page only where IOVA and address agree in their lower 21 bits; ' +
    'otherwise every mapping is made of 4 KiB pages, which costs memory and translation speed.',
}

const HUGE = 1n << 21n

const makeFinder = ({ history }: Known): Finder => {
  const told = new Set<string>()

  const look = (area: AreaHistory, report: Report): void => {
    const { memory, start, last, fixed, context, ioas } = area
    if (memory === undefined || !fixed || last - start + 1n < 2n * HUGE) return
    if ((start ^ memory.address) % HUGE === 0n) return
    const key = `${context} ${ioas}`
    if (told.has(key)) return
    told.add(key)
    report({
      severity: kind.severity,
      code: kind.code,
      sentence: `The mapping of ${bytesText(last - start + 1n)} at IOVA ${rangeText(area)} cannot use large pages: the memory begins at ${hex(memory.address)}, which differs in the lower 21 bits.`,
      evidence: [{ call: area.mapped, what: 'the program chose that IOVA for that memory' }],
      advice:
        'Align both alike: allocate the buffer at a multiple of 2 MiB and choose such an IOVA, or let the kernel choose it, which takes this into account.',
    })
  }

  return (event, report) => {
    if (event.type === 'area-mapped') {
      if ((history.ioas(event.context, event.ioas)?.attached.size ?? 0) === 0) return
      look(areaOf(event), report)
    } else if (event.type === 'attached')
      for (const { value } of history.ioas(event.context, event.ioas)?.areas ?? [])
        look(value, report)
  }
}

export const unalignedHuge: FinderKind = { finds: [kind], make: makeFinder }
