/** IOMMU_IOAS_CHANGE_PROCESS: another process takes over all file mappings (01 §16). */
import { IOMMU_IOAS_CHANGE_PROCESS } from '../abi/iommufd/ioas.ts'
import type { ChargeMode } from './accounting.ts'
import { command } from './command.ts'
import type { Context } from './context.ts'
import { Ioas, type IovaRange } from './ioas.ts'
import { printRange } from './ioas-iova.ts'
import { ReservedFieldSet } from './ioas-map.ts'
import type { PageSource } from './page-source.ts'
import type { Process } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const NotAFileMapping = reasonKind<{ ioas: number; area: IovaRange; source: string }>({
  code: 'not-a-file-mapping',
  errno: 'EINVAL',
  cite: '01 §16 step 3',
  say: ({ ioas, area, source }) =>
    `the area ${printRange(area.start, area.last)} of IOAS ${ioas} shows ${source}; only areas of ordinary files can change hands`,
  advice: 'Map with IOAS_MAP_FILE what shall survive the process.',
})

export const OldOwnerGone = reasonKind<{ pid: number; pages: number }>({
  code: 'old-owner-gone',
  errno: 'EINVAL',
  cite: '01 §16, details',
  say: ({ pid, pages }) =>
    `the mappings now belong to the caller, but the charge of ${pages} pages on the address space of process ${pid} could not be returned: it is gone`,
  advice: 'Take over before the old process exits.',
})

export const changeProcess = command(IOMMU_IOAS_CHANGE_PROCESS, ({ context, call, args }) => {
  if (args.__reserved !== 0) return refuse(ReservedFieldSet, { value: args.__reserved })
  const sources = fileSources(context)
  if (sources instanceof Refusal) return sources
  return takeOver(context, call.process, sources)
})

/** All sources of the context, each once, in order of appearance; refuses at the first that is no file. */
const fileSources = (context: Context): Result<Set<PageSource>> => {
  const sources = new Set<PageSource>()
  for (const ioas of context.objects) {
    if (!(ioas instanceof Ioas)) continue
    const { areas } = ioas
    for (let more = areas.seek(0, 0); more; more = areas.next()) {
      const { source } = areas
      if (source.file === undefined) {
        const { range: area } = ioas.areaAtCursor()
        return refuse(NotAFileMapping, { ioas: ioas.id, area, source: source.toString() })
      }
      sources.add(source)
    }
  }
  return sources
}

/** Does the charge of a source move to the process? */
const moves = ({ owner }: PageSource, to: Process): boolean =>
  (owner.mode === 'process' && owner.space !== to.addressSpace) ||
  (owner.mode === 'user' && (owner.uid !== to.uid || owner.space !== to.addressSpace))

/** Steps 4 and 5: the new owner is charged before the old one is uncharged. */
const takeOver = (context: Context, to: Process, sources: Set<PageSource>): Result<void> => {
  const { owners, machine } = context
  const { lockedMemory } = machine
  const pages: Record<ChargeMode, number> = { none: 0, user: 0, process: 0 }
  const moving = new Set<PageSource>()
  for (const source of sources) {
    if (!moves(source, to)) continue
    moving.add(source)
    pages[source.owner.mode] += source.pinned
  }
  let charged = lockedMemory.charge(owners.withMode(to, 'user'), pages.user)
  if (charged instanceof Refusal) return charged
  charged = lockedMemory.charge(owners.withMode(to, 'process'), pages.process)
  if (charged instanceof Refusal) {
    lockedMemory.uncharge(owners.withMode(to, 'user'), pages.user)
    return charged
  }
  let lost: Refusal | undefined
  for (const source of sources) {
    const { owner } = source
    if (moving.has(source)) {
      if (owner.mode === 'process' && owner.space.gone) {
        source.loseCharge()
        lost = refuse(OldOwnerGone, { pid: owner.process.pid, pages: source.pinned })
      } else lockedMemory.uncharge(owner, source.pinned)
    }
    source.owner = owners.withMode(to, owner.mode)
  }
  if (machine.observer !== undefined) context.emit({ type: 'process-changed', pid: to.pid })
  return lost
}
