import type { ObjectId } from '../abi/brands.ts'
import type { CallNumber, ContextNumber, EngineEvent } from '../engine/events.ts'
import { list } from './english.ts'
import type { Finder, FinderKind } from './finder.ts'
import type { Evidence, Finding } from './finding.ts'

/** A change of a context's compat IOAS, kept until the context is released. */
interface CompatChange {
  readonly by: 'auto' | 'set' | 'clear' | 'destroy'
  readonly ioas: ObjectId | undefined
  readonly previous: ObjectId | undefined
}

/** As many changes per context as are remembered; older ones are named by their number only. */
const REMEMBERED = 256

/**
 * 02 §2.5: a device keeps the compat IOAS that it was given when it was opened, so a SET (or a CLEAR
 * and what follows) between two devices puts one container's devices on different IOASes.
 */
const makeFinder = (): Finder => {
  const changes = new Map<ContextNumber, Map<CallNumber, CompatChange>>()

  const remember = (event: EngineEvent & { type: 'compat-ioas' }): void => {
    const ofContext = changes.get(event.context) ?? new Map<CallNumber, CompatChange>()
    changes.set(event.context, ofContext)
    ofContext.set(event.call, { by: event.by, ioas: event.ioas, previous: event.previous })
    for (const oldest of ofContext.keys()) {
      if (ofContext.size <= REMEMBERED) break
      ofContext.delete(oldest)
    }
  }

  return (event, report) => {
    switch (event.type) {
      case 'compat-ioas':
        return remember(event)
      case 'context-released':
        changes.delete(event.context)
        return
      case 'container-split':
        return report(splitFinding(event, changes.get(event.context)?.get(event.setCall)))
    }
  }
}

export const containerSplit: FinderKind = {
  interest: 'objects',
  finds: [
    {
      code: 'container-split',
      severity: 'warning',
      serious: true,
      title: 'The devices of one container are on different IOASes.',
      why:
        'IOMMU_VFIO_IOAS SET is not refused while devices are open: those keep the IOAS they were given, ' +
        'and mappings made through the container reach only the devices that came after it.',
    },
  ],
  make: makeFinder,
}

const splitFinding = (
  split: EngineEvent & { type: 'container-split' },
  change: CompatChange | undefined,
): Finding => {
  const ioases = [...new Set(split.devices.map(({ ioas }) => ioas))]
  const devices = split.devices.map(({ device }) => device)
  const cause =
    change?.by === 'clear'
      ? `call #${split.setCall}, IOMMU_VFIO_IOAS CLEAR, forgot the compat IOAS in between`
      : `call #${split.setCall}, IOMMU_VFIO_IOAS SET${change?.ioas === undefined ? '' : ` to IOAS ${change.ioas}`}, changed the compat IOAS in between`
  const evidence: Evidence[] = split.devices.map(({ device, ioas }) => ({
    what: `${device} translates through IOAS ${ioas}, and stays there until it is closed`,
  }))
  if (change)
    evidence.push({
      call: split.setCall,
      what: `the compat IOAS became ${change.ioas === undefined ? 'none' : `IOAS ${change.ioas}`}, it was ${change.previous === undefined ? 'none' : `IOAS ${change.previous}`}`,
    })
  return {
    severity: 'warning',
    code: 'container-split',
    sentence: `One container now spans ${ioases.length} IOASes: ${list(
      split.devices.map(({ device, ioas }) => `device ${device} is on IOAS ${ioas}`),
    )}, because ${cause}.`,
    evidence,
    advice:
      `Linux permits this, but VFIO_IOMMU_MAP_DMA now reaches only the devices on the newest of them: ` +
      `give ${list(devices)} one IOAS by making every SET before the first device is opened, ` +
      `or refuse such a SET with --compat-ioas=strict.`,
  }
}
