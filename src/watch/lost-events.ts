import { hex } from '../abi/brands.ts'
import type { EngineEvent } from '../engine/events.ts'
import { list } from './english.ts'
import type { Finder, FinderKind, Report } from './finder.ts'
import type { FindingKind } from './finding.ts'

const reservations: FindingKind = {
  code: 'reservations-lost',
  severity: 'warning',
  title: 'A replace that failed took reservations away that the devices still need.',
  why:
    'Linux gives up the reserved regions of devices when a replace within one IOAS fails: the program can ' +
    'from then on map over their MSI window.',
}

const bitmap: FindingKind = {
  code: 'dirty-bitmap-incomplete',
  severity: 'error',
  title: 'Dirty pages were read and cleared, but did not reach the program.',
  why: 'What a live migration does not learn of, it does not copy: the guest is corrupted at its destination.',
}

const events: FindingKind = {
  code: 'virtual-event-lost',
  severity: 'warning',
  title: 'An event for a guest was lost because its queue was full.',
  why: 'The guest learns only that events were lost; faults that it would have handled go unanswered.',
}

const makeFinder = (): Finder => {
  const told = new Set<string>()
  const once = (key: string, report: () => void): void => {
    if (told.has(key)) return
    told.add(key)
    report()
  }
  return (event, report) => {
    switch (event.type) {
      case 'reservations-lost':
        reportReservations(event, report)
        return
      case 'dirty-read':
        if (event.lostSpans > 0 && event.cleared) reportBitmap(event, report)
        return
      case 'virtual-event':
        if (event.lost) once(`${event.context} ${event.queue}`, () => reportLost(event, report))
    }
  }
}

const reportReservations = (
  { devices, ioas, call }: EngineEvent & { type: 'reservations-lost' },
  report: Report,
): void =>
  report({
    severity: reservations.severity,
    code: reservations.code,
    sentence: `The failed replace in call #${call} made IOAS ${ioas} forget what ${list(devices)} must have reserved.`,
    evidence: [{ call, what: 'failed' }],
    advice:
      'Detach and attach the devices again before mapping anything, and do not replace an HWPT by one that its devices may not take.',
  })

const reportBitmap = (
  { hwpt, iova, length, lostSpans, call }: EngineEvent & { type: 'dirty-read' },
  report: Report,
): void =>
  report({
    severity: bitmap.severity,
    code: bitmap.code,
    sentence: `IOMMU_HWPT_GET_DIRTY_BITMAP of HWPT ${hwpt} cleared ${lostSpans} dirty ranges in ${hex(length)} bytes at IOVA ${hex(iova)} that it could not write to the program's bitmap.`,
    evidence: [{ call, what: 'read and cleared the dirty pages' }],
    advice:
      'Pass a bitmap in writable memory, with a bit for each page of the range; after such a failure count every page as dirty.',
  })

const reportLost = (
  { viommu, queue, sequence, call }: EngineEvent & { type: 'virtual-event' },
  report: Report,
): void =>
  report({
    severity: events.severity,
    code: events.code,
    sentence: `Event ${sequence} of vIOMMU ${viommu} was lost, because event queue ${queue} was full.`,
    evidence: call === 0 ? [] : [{ call, what: 'caused the event' }],
    advice:
      'Read the queue until it is empty whenever poll says so, or allocate it with a greater veventq_depth.',
  })

export const lostEvents: FinderKind = {
  finds: [reservations, bitmap, events],
  make: makeFinder,
}
