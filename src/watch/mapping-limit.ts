import type { ContextNumber } from '../engine/events.ts'
import { ENTRY_LIMIT } from '../vfio/type1-backend.ts'
import type { Finder, FinderKind, Known } from './finder.ts'
import type { FindingKind } from './finding.ts'

const kind: FindingKind = {
  code: 'near-mapping-limit',
  severity: 'warning',
  title: 'A type1 container has nearly as many mappings as it permits.',
  why:
    'VFIO permits 65535 mappings for each container (dma_entry_limit) and then refuses with ENOSPC; ' +
    'programs that map page by page reach it with 256 MiB.',
}

const NEAR = Math.floor(ENTRY_LIMIT * 0.9)

const makeFinder = ({ history }: Known): Finder => {
  const told = new Set<ContextNumber>()
  return (event, report) => {
    if (event.type !== 'area-mapped' || told.has(event.context)) return
    const context = history.contexts.get(event.context)
    // An iommufd in the place of a container knows no such limit.
    if (context?.node !== '/dev/vfio/vfio' || context.compatIoas !== undefined) return
    const mappings = (context.ioases.get(event.ioas)?.count ?? 0) + 1
    if (mappings < NEAR) return
    told.add(event.context)
    report({
      severity: kind.severity,
      code: kind.code,
      sentence: `The container has ${mappings} mappings of the ${ENTRY_LIMIT} that type1 permits.`,
      evidence: [{ call: event.call, what: 'made one more' }],
      advice:
        'Map larger pieces, unmap what is not needed, or use iommufd, which has no such limit; the module parameter dma_entry_limit raises it.',
    })
  }
}

export const mappingLimit: FinderKind = { finds: [kind], make: makeFinder }
