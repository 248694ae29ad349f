import { IOMMU_IOAS_COPY, IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE } from '../abi/iommufd/ioas.ts'
import { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA } from '../abi/vfio/container.ts'
import type { ContextNumber, EngineEvent } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import { bigMember, membersOf, numberMember, subjectsOf } from './call-members.ts'
import { rangeText } from './english.ts'
import { mappedEvidence } from './explanation.ts'
import type { Finder, FinderKind, Known, Report } from './finder.ts'
import type { Evidence, FindingKind } from './finding.ts'
import type { AreaHistory, IoasHistory } from './history.ts'

const empty: FindingKind = {
  code: 'unmap-removed-nothing',
  severity: 'warning',
  title: 'An unmap succeeded, but there was nothing to unmap.',
  why:
    'VFIO_IOMMU_UNMAP_DMA returns 0 also when it unmapped nothing; only the size that it writes back says ' +
    'so. A program that does not look believes that the range is free.',
}

const stale: FindingKind = {
  code: 'mapping-outlived-unmap',
  severity: 'error',
  serious: true,
  title:
    'A map failed with EEXIST because of a mapping that the program believes to be gone, and it went on.',
  why:
    'The old mapping stays: devices read and write the old memory while the program uses the new. ' +
    'This is how DPDK under SPDK came to silent wrong-buffer I/O (spdk/spdk#1705).',
}

/** Refusals of a map because of another mapping. */
const EXISTS: ReadonlySet<string> = new Set(['map-meets-area', 'type1-overlaps'])
const MAPS: ReadonlySet<number | undefined> = new Set([
  IOMMU_IOAS_MAP.request,
  IOMMU_IOAS_MAP_FILE.request,
  IOMMU_IOAS_COPY.request,
  VFIO_IOMMU_MAP_DMA.request,
])
const ALL = 2
const MOST = 256

type CallEvent = EngineEvent & { readonly type: 'call' }

interface Range {
  readonly start: bigint
  readonly last: bigint
}

/** A map that failed because `area` was still there. */
interface Failed {
  readonly wanted: Range
  readonly call: number
  readonly area: AreaHistory
  readonly unmap: Unmapped | undefined
}

/** An unmap without effect. */
interface Unmapped extends Range {
  readonly call: number
}

interface OfContext {
  readonly unmaps: Unmapped[]
  readonly failed: Failed[]
}

const makeFinder = ({ history }: Known): Finder => {
  const contexts = new Map<ContextNumber, OfContext>()
  const of = (context: ContextNumber): OfContext => {
    const known = contexts.get(context) ?? { unmaps: [], failed: [] }
    contexts.set(context, known)
    return known
  }

  const unmapEnds = (event: CallEvent, context: ContextNumber, report: Report): void => {
    const { input, output } = membersOf(event)
    const size = bigMember(input, 'size')
    const start = bigMember(input, 'iova')
    const all = ((numberMember(input, 'flags') ?? 0) & ALL) !== 0
    if (start === undefined || !size || all || bigMember(output, 'size') !== 0n) return
    const range = { start, last: start + size - 1n }
    keep(of(context).unmaps, { ...range, call: event.call })
    const ioas = history.contexts.get(context)?.onlyIoas
    const { evidence, sentence } = whyEmpty(range, ioas)
    report({
      severity: empty.severity,
      code: empty.code,
      sentence: `VFIO_IOMMU_UNMAP_DMA of ${rangeText(range)} returned 0 but unmapped nothing: ${sentence}.`,
      evidence: [{ call: event.call, what: 'wrote size 0 back' }, ...evidence],
      advice:
        'Compare the size that the call writes back to the size that was asked for, and unmap with the IOVA and size with which it was mapped.',
    })
  }

  const mapFailed = (event: CallEvent, context: ContextNumber, refusal: Refusal): void => {
    const { iova, length, objects } = subjectsOf(event)
    if (iova === undefined || !length) return
    const wanted = { start: iova, last: iova + length - 1n }
    const ioas =
      objects.map(({ id }) => history.ioas(context, id)).find((found) => found !== undefined) ??
      history.contexts.get(context)?.onlyIoas
    const [area] = ioas?.within(wanted.start, wanted.last) ?? []
    if (area === undefined || !EXISTS.has(refusal.code)) return
    const unmap = of(context).unmaps.findLast(
      ({ start, last }) => start <= wanted.last && last >= wanted.start,
    )
    keep(of(context).failed, { wanted, call: event.call, area, unmap })
  }

  /** A device uses a mapping that was to be replaced. */
  const used = (event: EngineEvent & { type: 'dma' }, report: Report): void => {
    const failed = contexts.get(event.context)?.failed ?? []
    const index = failed.findIndex(
      ({ area }) =>
        area.ioas === event.ioas &&
        area.start < event.iova + event.length &&
        area.last >= event.iova,
    )
    const one = failed[index]
    if (one === undefined) return
    failed.splice(index, 1)
    report({
      ...staleFinding(one),
      sentence: `${event.device} ${event.write ? 'wrote to' : 'read from'} the old memory at IOVA ${rangeText(one.area)}: mapping ${rangeText(one.wanted)} anew had failed with EEXIST in call #${one.call}, and the program went on.`,
    })
  }

  return (event, report) => {
    switch (event.type) {
      case 'call': {
        // On an iommufd or a container, a number means one request.
        const { context, request, result } = event
        if (context === undefined) return
        if (request === VFIO_IOMMU_UNMAP_DMA.request && !(result instanceof Refusal))
          unmapEnds(event, context, report)
        if (!MAPS.has(request)) return
        if (result instanceof Refusal) mapFailed(event, context, result)
        else goesOn(contexts.get(context), report)
        return
      }
      case 'area-unmapped': {
        const failed = contexts.get(event.context)?.failed
        const index =
          failed?.findIndex(({ area }) => area.ioas === event.ioas && area.start === event.iova) ??
          -1
        if (index >= 0) failed?.splice(index, 1)
        return
      }
      case 'dma':
        used(event, report)
        return
      case 'context-released':
        contexts.delete(event.context)
    }
  }
}

/** It maps something else, and has an unmap behind it that it believes in. */
const goesOn = (known: OfContext | undefined, report: Report): void => {
  const index = known?.failed.findIndex(({ unmap }) => unmap !== undefined) ?? -1
  const one = known?.failed[index]
  if (known === undefined || one === undefined) return
  known.failed.splice(index, 1)
  report({
    ...staleFinding(one),
    sentence: `Mapping ${rangeText(one.wanted)} failed with EEXIST in call #${one.call}, because the unmap before it had removed nothing, and the program went on: devices still reach the old memory at ${rangeText(one.area)}.`,
  })
}

const staleFinding = ({ call, area, unmap }: Failed) => ({
  severity: stale.severity,
  code: stale.code,
  evidence: [
    mappedEvidence(area),
    ...(unmap === undefined
      ? []
      : [{ call: unmap.call, what: `the unmap of ${rangeText(unmap)} removed nothing` }]),
    { call, what: 'the map failed with EEXIST' },
  ],
  advice:
    'Treat EEXIST as an error: unmap the old mapping with the IOVA and size with which it was made, and check the size that the unmap writes back.',
})

const whyEmpty = (
  range: Range,
  ioas: IoasHistory | undefined,
): { readonly sentence: string; readonly evidence: readonly Evidence[] } => {
  const [area] = ioas?.within(range.start, range.last) ?? []
  if (area !== undefined)
    return {
      sentence: `the mapping ${rangeText(area)} begins before it`,
      evidence: [mappedEvidence(area)],
    }
  const former = ioas?.formerAt(range.start, range.last)
  if (former !== undefined)
    return {
      sentence: 'what was mapped there had been unmapped before',
      evidence: [{ call: former.unmapped, what: `${rangeText(former.area)} was unmapped` }],
    }
  return { sentence: 'nothing was ever mapped there', evidence: [] }
}

const keep = <T>(list: T[], one: T): void => {
  list.push(one)
  if (list.length > MOST) list.shift()
}

export const emptyUnmap: FinderKind = { finds: [empty, stale], make: makeFinder }
