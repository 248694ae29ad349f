import type { ObjectId } from '../abi/brands.ts'
import type { ContextNumber, EngineEvent } from '../engine/events.ts'
import { bytesText, count, list, objectText } from './english.ts'
import type { Finder, FinderKind, Known } from './finder.ts'
import type { Evidence, FindingKind } from './finding.ts'

const kind: FindingKind = {
  code: 'left-at-release',
  severity: 'note',
  title: 'A context was closed with objects, mappings or pins that the program had not given back.',
  why:
    'The kernel cleans up when the last descriptor is closed, so this does no harm at exit. In a program ' +
    'that opens one iommufd for its whole life, it is what a leak looks like.',
}

/** What one context leaves, as the events of its release tell it. */
interface Left {
  readonly objects: Evidence[]
  mappings: number
  bytes: bigint
  pins: number
}

/** As many objects as are named; more are only counted. */
const NAMED = 8

const makeFinder = ({ history }: Known): Finder => {
  const left = new Map<ContextNumber, Left>()
  /** Mappings that went since the last call, by IOAS: those of an IOAS that is released. */
  let going = new Map<ObjectId, { mappings: number; bytes: bigint }>()
  const pins = new Map<string, number>()

  const leftOf = (context: ContextNumber): Left => {
    const known = left.get(context) ?? { objects: [], mappings: 0, bytes: 0n, pins: 0 }
    left.set(context, known)
    return known
  }

  const destroyed = (event: EngineEvent & { type: 'object-destroyed' }): void => {
    const key = `${event.context} ${event.id}`
    const pinned = pins.get(key)
    pins.delete(key)
    if (event.by !== 'release') return
    const object = history.contexts.get(event.context)?.objects.get(event.id)
    const what = leftOf(event.context)
    const gone = going.get(event.id)
    what.mappings += gone?.mappings ?? 0
    what.bytes += gone?.bytes ?? 0n
    what.pins += pinned ?? 0
    if (object !== undefined && !object.automatic)
      what.objects.push({ call: object.made, what: `${objectText(object)} was made` })
  }

  return (event, report) => {
    switch (event.type) {
      case 'call':
        going = new Map()
        return
      case 'area-unmapped': {
        const known = going.get(event.ioas) ?? { mappings: 0, bytes: 0n }
        going.set(event.ioas, {
          mappings: known.mappings + 1,
          bytes: known.bytes + event.length,
        })
        return
      }
      case 'access-pinned':
      case 'access-unpinned': {
        const key = `${event.context} ${event.access}`
        pins.set(key, (pins.get(key) ?? 0) + (event.type === 'access-pinned' ? 1 : -1))
        return
      }
      case 'object-destroyed':
        destroyed(event)
        return
      case 'context-released': {
        const what = left.get(event.context)
        left.delete(event.context)
        const context = history.contexts.get(event.context)
        if (what === undefined || context === undefined) return
        const parts = [
          ...(what.objects.length > 0 ? [count(what.objects.length, 'object')] : []),
          ...(what.mappings > 0
            ? [`${count(what.mappings, 'mapping')} (${bytesText(what.bytes)})`]
            : []),
          ...(what.pins > 0 ? [count(what.pins, 'pin')] : []),
        ]
        if (parts.length === 0) return
        report({
          severity: kind.severity,
          code: kind.code,
          sentence: `${context.node}, opened in call #${context.opened}, was closed with ${list(parts)} left.`,
          evidence: what.objects.slice(0, NAMED),
          advice:
            'IOMMU_IOAS_UNMAP what was mapped and IOMMU_DESTROY what was made, in the reverse order, when it is no longer needed.',
        })
      }
    }
  }
}

export const leftAtRelease: FinderKind = { finds: [kind], make: makeFinder }
