import { hex } from '../abi/brands.ts'
import type { ContextNumber } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import { type PlatformReach, platformReaches } from '../iommu/platform-reach.ts'
import { callName } from './call-members.ts'
import { bytesText, list, rangeText } from './english.ts'
import type { Finder, FinderKind, Known, Report } from './finder.ts'
import type { FindingKind } from './finding.ts'
import { type AreaHistory, areaOf } from './history.ts'

const kind: FindingKind = {
  code: 'iova-not-portable',
  severity: 'warning',
  title:
    'A program chose an IOVA without asking which are usable, and other platforms reserve it or cannot address it.',
  why:
    'Which IOVAs a device can use differs: Arm keeps a window for MSIs at 128 MiB, AMD leaves out the ' +
    'HyperTransport range below 1 TiB, some Intel units address 39 bits only. Guest memory mapped 1:1 meets ' +
    'all of them.',
}

/** One thing that keeps a range from being mapped, and where. */
interface Obstacle {
  readonly key: string
  /** `Arm's`: a clause that completes "which". */
  readonly what: string
  readonly platforms: string[]
  readonly met: (area: { readonly start: bigint; readonly last: bigint }) => boolean
}

const purposes: Readonly<Record<string, string>> = {
  msi: 'the MSI window',
  'sw-msi': 'the window that Linux gives to MSIs',
  reserved: 'a range that is reserved',
  direct: 'a range that firmware maps 1:1',
}

/** Platforms with the same obstacle are named together. */
const obstaclesOf = (reaches: readonly PlatformReach[]): readonly Obstacle[] => {
  const obstacles = new Map<string, Obstacle>()
  const add = (obstacle: Omit<Obstacle, 'platforms'>, platform: string): void => {
    const known = obstacles.get(obstacle.key)
    if (known === undefined) obstacles.set(obstacle.key, { ...obstacle, platforms: [platform] })
    else known.platforms.push(platform)
  }
  for (const { platform, aperture, reserved } of reaches) {
    for (const range of reserved)
      add(
        {
          key: `${range.kind} ${rangeText(range)}`,
          what: `meets ${rangeText(range)}, ${purposes[range.kind] ?? purposes['reserved']}`,
          met: (area) => area.start <= range.last && area.last >= range.start,
        },
        platform.name,
      )
    add(
      {
        key: `aperture ${hex(aperture.last)}`,
        what: `passes ${hex(aperture.last)}, the last address that devices have`,
        met: (area) => area.last > aperture.last,
      },
      platform.name,
    )
  }
  return [...obstacles.values()]
}

/** Requests that tell a program which IOVAs there are. */
const ASKS: ReadonlySet<string> = new Set(['IOMMU_IOAS_IOVA_RANGES', 'VFIO_IOMMU_GET_INFO'])

/** Only a physical device stands behind a platform's IOMMU. */
const isPci = (device: string): boolean => /^[0-9a-f]{4,}:[0-9a-f]{2}:/.test(device)

const makeFinder = ({ history }: Known): Finder => {
  let obstacles: readonly Obstacle[] | undefined
  /** Contexts whose program knows what it does. */
  const asked = new Set<ContextNumber>()
  const told = new Set<string>()

  const look = (area: AreaHistory, report: Report): void => {
    if (!area.fixed || asked.has(area.context)) return
    obstacles ??= obstaclesOf(platformReaches())
    for (const { key, what, platforms, met } of obstacles) {
      const once = `${area.context} ${area.ioas} ${key}`
      if (told.has(once) || !met(area)) continue
      told.add(once)
      report({
        severity: kind.severity,
        code: kind.code,
        sentence: `The mapping of ${bytesText(area.last - area.start + 1n)} at IOVA ${rangeText(area)} works here, but not on ${list(platforms)}: there it ${what}.`,
        evidence: [
          {
            call: area.mapped,
            what: 'the program chose that IOVA, and had not asked which are usable',
          },
        ],
        advice:
          'Ask IOMMU_IOAS_IOVA_RANGES (VFIO_IOMMU_GET_INFO for a container) after attaching and stay within the answer, or let the kernel choose; try the program with --platform.',
      })
    }
  }

  return (event, report) => {
    switch (event.type) {
      case 'call':
        if (event.context === undefined || event.result instanceof Refusal) return
        if (ASKS.has(callName(event))) asked.add(event.context)
        return
      case 'area-mapped': {
        const context = history.contexts.get(event.context)
        const devices = [...(context?.devices.values() ?? [])]
        // A native container has its own IOAS, whose devices are not objects.
        const isPhysical =
          devices.some((device) => device.attached?.ioas === event.ioas && isPci(device.name)) ||
          (context?.node === '/dev/vfio/vfio' && context.compatIoas === undefined)
        if (isPhysical) look(areaOf(event), report)
        return
      }
      case 'attached':
        if (!isPci(event.device)) return
        for (const { value } of history.ioas(event.context, event.ioas)?.areas ?? [])
          look(value, report)
        return
      case 'context-released':
        asked.delete(event.context)
    }
  }
}

export const iovaElsewhere: FinderKind = { finds: [kind], make: makeFinder }
