import { MAX_U64 } from '../abi/brands.ts'
import { IOMMU_DESTROY } from '../abi/iommufd/context.ts'
import { IOMMU_IOAS_UNMAP } from '../abi/iommufd/ioas.ts'
import { VFIO_IOMMU_UNMAP_DMA } from '../abi/vfio/container.ts'
import type { ContextNumber, EngineEvent } from '../engine/events.ts'
import { bytesText, count, rangeText } from './english.ts'
import { mappedEvidence } from './explanation.ts'
import type { Finder, FinderKind, Known, Report } from './finder.ts'
import type { Evidence, FindingKind } from './finding.ts'
import { type AreaHistory, areaOf, cutInTwo } from './history.ts'
import { MemoryIndex } from './memory-index.ts'

const freed: FindingKind = {
  code: 'memory-freed-while-mapped',
  severity: 'warning',
  title: 'A program gave up memory that is still mapped for DMA.',
  why:
    'The kernel keeps the pinned pages, but the program no longer sees them: what comes to lie at the ' +
    'address is other memory, and devices go on using the old pages.',
}

const used: FindingKind = {
  code: 'dma-to-freed-memory',
  severity: 'error',
  serious: true,
  title: 'A device used memory that the program had given up.',
  why:
    'What the device writes there never reaches the program, and what it reads there is old: ' +
    'silent corruption, and the reason why unmapping comes before freeing.',
}

type Replaced = EngineEvent & { readonly type: 'memory-replaced' }

const did: Readonly<Record<Replaced['by'], string>> = {
  munmap: 'unmapped',
  mremap: 'moved',
  madvise: 'discarded (madvise)',
  mmap: 'mapped over (MAP_FIXED)',
  exit: 'given up by exiting',
  execve: 'given up by calling exec',
}

/** A mapping whose memory is gone, and since when. */
interface Lost {
  readonly area: AreaHistory
  readonly replaced: Replaced
  /** That it is gone has been reported. */
  told: boolean
  /** That a device used it has been reported. */
  used: boolean
}

const makeFinder = ({ history }: Known): Finder => {
  /** Made when memory is given up for the first time, which most programs never do while they run. */
  let memory: MemoryIndex | undefined
  /** By context, then by first IOVA and IOAS. */
  const lost = new Map<ContextNumber, Map<string, Lost>>()
  const key = (ioas: number, start: bigint): string => `${ioas} ${start}`

  const replaced = (event: Replaced): void => {
    // Memory that is moved is still seen, and an execve may fail: neither is known to free anything.
    if (event.by === 'mremap' || event.by === 'execve') return
    memory ??= indexOf(history)
    for (const area of memory.within(event.space, event.start, event.end)) {
      const ofContext = lost.get(area.context) ?? new Map<string, Lost>()
      lost.set(area.context, ofContext)
      const at = key(area.ioas, area.start)
      if (!ofContext.has(at)) ofContext.set(at, { area, replaced: event, told: false, used: false })
    }
  }

  const dma = (event: EngineEvent & { type: 'dma' }, report: Report): void => {
    const { context, ioas, iova, length, device, write } = event
    const ofContext = lost.get(context)
    if (ofContext === undefined || ioas === undefined) return
    for (const area of history.ioas(context, ioas)?.within(iova, iova + length - 1n) ?? []) {
      const one = ofContext.get(key(ioas, area.start))
      if (one === undefined || one.used) continue
      one.used = true
      one.told = true
      report({
        severity: used.severity,
        code: used.code,
        sentence: `${device} ${write ? 'wrote' : 'read'} ${bytesText(length)} at IOVA ${rangeText({ start: iova, last: iova + length - 1n })}, in memory of process ${one.replaced.pid} that had been ${did[one.replaced.by]}.`,
        evidence: evidenceOf([one]),
        advice: 'Stop the device, unmap the IOVA, and only then free the memory.',
      })
    }
  }

  /** The program goes on with the context, and has not unmapped what it freed. */
  const goesOn = (event: EngineEvent & { type: 'call' }, report: Report): void => {
    const ofContext = event.context && lost.get(event.context)
    if (!ofContext) return
    const untold = [...ofContext.values()].filter(
      (one) => !one.told && event.call > one.replaced.call && isUse(one, event),
    )
    const [first] = untold
    if (first === undefined) return
    for (const one of untold) one.told = true
    const bytes = untold.reduce((sum, { area }) => sum + area.last - area.start + 1n, 0n)
    report({
      severity: freed.severity,
      code: freed.code,
      sentence: `Memory of process ${first.replaced.pid} is still mapped for DMA after it was ${did[first.replaced.by]}: ${count(untold.length, 'mapping')} of ${bytesText(bytes)}${untold.length === 1 ? ` at IOVA ${rangeText(first.area)}` : ''}.`,
      evidence: evidenceOf(untold),
      advice:
        'Unmap the IOVA first (IOMMU_IOAS_UNMAP, VFIO_IOMMU_UNMAP_DMA), then free the memory.',
    })
  }

  return (event, report) => {
    switch (event.type) {
      case 'area-mapped':
        memory?.add(areaOf(event))
        return
      case 'area-unmapped':
        if (memory === undefined) return
        for (const area of history
          .ioas(event.context, event.ioas)
          ?.within(event.iova, event.iova + event.length - 1n) ?? []) {
          memory.remove(area)
          lost.get(event.context)?.delete(key(event.ioas, area.start))
        }
        return
      case 'area-split': {
        if (memory === undefined) return
        const area = history.ioas(event.context, event.ioas)?.at(event.after)
        if (area === undefined || area.last === event.after) return
        memory.remove(area)
        for (const part of cutInTwo(area, event.after)) memory.add(part)
        return
      }
      case 'context-released':
        lost.delete(event.context)
        return
      case 'memory-replaced':
        replaced(event)
        return
      case 'dma':
        dma(event, report)
        return
      case 'call':
        goesOn(event, report)
    }
  }
}

const indexOf = (history: Known['history']): MemoryIndex => {
  const memory = new MemoryIndex()
  for (const { ioases } of history.contexts.values())
    for (const ioas of ioases.values())
      for (const area of ioas.within(0n, MAX_U64)) memory.add(area)
  return memory
}

/** Whoever calls these is about to let go: some programs free first, and unmap what they freed one by one. */
const LETS_GO: ReadonlySet<number | undefined> = new Set([
  IOMMU_IOAS_UNMAP.request,
  IOMMU_DESTROY.request,
  VFIO_IOMMU_UNMAP_DMA.request,
])

/** After an exit, only others can use the context. */
const isUse = (
  { replaced }: Lost,
  { pid, operation, request }: EngineEvent & { type: 'call' },
): boolean =>
  operation === 'ioctl' && !LETS_GO.has(request) && (replaced.by !== 'exit' || pid !== replaced.pid)

/** As many mappings as are named. */
const NAMED = 4

const evidenceOf = (lost: readonly Lost[]): readonly Evidence[] =>
  lost.slice(0, NAMED).flatMap(({ area, replaced }) => [
    mappedEvidence(area),
    {
      call: replaced.call,
      name: replaced.by,
      pid: replaced.pid,
      tid: replaced.tid,
      ...(replaced.place === undefined ? {} : { place: replaced.place }),
      what: `the memory behind it was ${did[replaced.by]}`,
    },
  ])

export const freedMemory: FinderKind = { finds: [freed, used], make: makeFinder }
