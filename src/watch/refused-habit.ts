import type { EngineEvent } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import { callName, callText } from './call-members.ts'
import { explain } from './explanation.ts'
import type { Finder, FinderKind, Known } from './finder.ts'
import type { FindingKind } from './finding.ts'

/** A refusal that tells of a mistake which real programs make, and which its errno does not name. */
interface Habit {
  readonly kind: FindingKind
  /** Codes of reasons. */
  readonly reasons: ReadonlySet<string>
  /** Names of requests; absent for any. */
  readonly calls?: ReadonlySet<string>
  /** Completes "CALL failed with ERRNO: ". */
  readonly because: string
  readonly advice: string
}

const MAPS: ReadonlySet<string> = new Set(['IOMMU_IOAS_MAP', 'VFIO_IOMMU_MAP_DMA'])

const habits: readonly Habit[] = [
  {
    kind: {
      code: 'map-before-set-iommu',
      severity: 'warning',
      title: 'VFIO_IOMMU_MAP_DMA before the container could map.',
      why:
        'Without VFIO_GROUP_SET_CONTAINER and VFIO_SET_IOMMU there is nothing to map into, and the errno ' +
        '(EINVAL, or ENODEV on an iommufd) comes whatever the IOVA is: a long hunt for chimera-nas/libevpl#86.',
    },
    reasons: new Set(['container-has-no-backend', 'no-compat-ioas']),
    calls: new Set(['VFIO_IOMMU_MAP_DMA']),
    because: 'the container has no IOMMU yet, and would have refused any IOVA',
    advice:
      'Open the group, VFIO_GROUP_SET_CONTAINER, VFIO_SET_IOMMU (VFIO_TYPE1v2_IOMMU), and only then map.',
  },
  {
    kind: {
      code: 'device-memory-mapped',
      severity: 'warning',
      title: 'A program mapped the BAR of a device for DMA by its address.',
      why:
        'Device memory is taken by iommufd as a dma-buf only: EFAULT otherwise; type1 accepted it. Programs that ' +
        'treat this as fatal do not start (cloud-hypervisor#8895), others flood their logs (kata-containers#12549).',
    },
    reasons: new Set(['page-is-device-memory']),
    calls: MAPS,
    because: 'the memory is that of a device, which cannot be pinned',
    advice:
      'Leave BARs out, or map them as a dma-buf (VFIO_DEVICE_FEATURE_DMA_BUF, then IOMMU_IOAS_MAP_FILE); where only peer-to-peer DMA is lost, go on.',
  },
  {
    kind: {
      code: 'unmap-cuts-mapping',
      severity: 'warning',
      title: 'A program unmapped a part of a mapping.',
      why:
        'Only VFIO_TYPE1_IOMMU splits mappings, which it does badly; TYPE1v2 and iommufd refuse it, each with ' +
        'another errno, and iommufd has by then unmapped what lay before.',
    },
    reasons: new Set(['area-sticks-out', 'type1-cuts-mapping']),
    because: 'it would cut a mapping in two',
    advice:
      'Unmap with the IOVA and length with which it was mapped; map in the pieces that will be unmapped.',
  },
]

export const refusedHabits: FinderKind = {
  finds: habits.map(({ kind }) => kind),
  make: ({ history }: Known): Finder => {
    const told = new Set<string>()
    return (event, report) => {
      if (event.type !== 'call' || !(event.result instanceof Refusal)) return
      const habit = habitOf(event, event.result)
      if (habit === undefined) return
      const { kind, because, advice } = habit
      const key = `${event.context} ${event.pid} ${kind.code}`
      if (told.has(key)) return
      told.add(key)
      report({
        severity: kind.severity,
        code: kind.code,
        sentence: `${callText(event)} failed with ${event.result.kind.errno} because ${because}.`,
        evidence: [
          { call: event.call, what: event.result.say() },
          ...(explain(event, history)?.evidence ?? []),
        ],
        advice,
      })
    }
  },
}

const habitOf = (event: EngineEvent & { type: 'call' }, refusal: Refusal): Habit | undefined =>
  habits.find(
    ({ reasons, calls }) =>
      reasons.has(refusal.code) && (calls === undefined || calls.has(callName(event))),
  )
