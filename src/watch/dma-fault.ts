import { hex } from '../abi/brands.ts'
import type { EngineEvent } from '../engine/events.ts'
import { areaText, list, rangeText } from './english.ts'
import { mappedEvidence } from './explanation.ts'
import type { Finder, FinderKind, Known } from './finder.ts'
import type { Evidence, FindingKind } from './finding.ts'
import type { IoasHistory } from './history.ts'

const kind: FindingKind = {
  code: 'dma-fault',
  severity: 'error',
  serious: true,
  title: 'A device reached for an IOVA that its page table does not let it have.',
  why:
    'On real hardware the access is blocked and logged by the host (DMAR, AMD-Vi, arm-smmu): the program ' +
    'sees no error, only data that never arrives.',
}

type Fault = EngineEvent & { readonly type: 'dma-fault' }

const because: Readonly<Record<Fault['fault'], string>> = {
  blocked: 'the device is attached to nothing that would translate',
  'not-mapped': 'nothing is mapped there',
  'no-permission': 'the mapping does not permit it',
  'out-of-reach': 'the page table does not reach that far',
  'no-memory': 'there is no memory behind it',
}

/** As many faults of one device as are reported; the hundredth tells nothing new. */
const REPORTED = 8

const makeFinder = ({ history }: Known): Finder => {
  const reported = new Map<string, Set<string>>()
  return (event, report) => {
    if (event.type !== 'dma-fault') return
    const { device, iova, write, fault, ioas } = event
    const ofDevice = reported.get(device) ?? new Set<string>()
    reported.set(device, ofDevice)
    const place = `${fault} ${ioas} ${iova >> 12n}`
    if (ofDevice.has(place) || ofDevice.size >= REPORTED) return
    ofDevice.add(place)
    const known = history.ioas(event.context, ioas)
    report({
      severity: kind.severity,
      code: kind.code,
      sentence: `${device} could not ${write ? 'write' : 'read'} at IOVA ${hex(iova)}${ioas === undefined ? '' : ` of IOAS ${ioas}`}: ${because[fault]}.`,
      evidence: known === undefined ? [] : evidenceOf(event, known),
      advice: adviceFor(event, known),
    })
  }
}

const evidenceOf = ({ iova }: Fault, ioas: IoasHistory): readonly Evidence[] => {
  const area = ioas.at(iova)
  if (area !== undefined)
    return [{ ...mappedEvidence(area), what: `${mappedEvidence(area).what}, ${permissions(area)}` }]
  const former = ioas.formerAt(iova)
  const { before, after } = ioas.areas.neighbours(iova)
  return [
    ...(former === undefined
      ? []
      : [
          mappedEvidence(former.area),
          { call: former.unmapped, what: `${rangeText(former.area)} was unmapped` },
        ]),
    ...[before, after].flatMap((near) =>
      near === undefined
        ? []
        : [
            {
              call: near.value.mapped,
              what: `the nearest mapping ${near === before ? 'below' : 'above'} is ${areaText(near.value)}`,
            },
          ],
    ),
  ]
}

const permissions = ({ readable, writable }: { readable: boolean; writable: boolean }): string =>
  readable || writable
    ? `with ${list([...(readable ? ['READABLE'] : []), ...(writable ? ['WRITEABLE'] : [])])}`
    : 'without permissions'

const adviceFor = ({ fault, iova, write }: Fault, ioas: IoasHistory | undefined): string => {
  switch (fault) {
    case 'blocked':
      return 'Attach the device before it is told to do DMA, and stop it before it is detached.'
    case 'no-permission':
      return `Map the range ${write ? 'WRITEABLE' : 'READABLE'} for what the device ${write ? 'writes' : 'reads'}.`
    case 'no-memory':
      return 'Map memory of the program, and keep it as long as the mapping.'
    case 'out-of-reach':
      return 'Use IOVAs within what IOMMU_IOAS_IOVA_RANGES reports.'
    case 'not-mapped':
      return ioas?.formerAt(iova) === undefined
        ? 'Compare what the device was programmed with to what was mapped: address, length, and the IOVA that the kernel chose.'
        : 'Wait until the device is done, or stop it, before unmapping what it uses.'
  }
}

export const dmaFault: FinderKind = { finds: [kind], make: makeFinder }
