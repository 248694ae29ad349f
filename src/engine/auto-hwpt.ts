/**
 * From the `pt_id` of an attach or replace to the HWPT it means (03 §5.1), choosing or making an
 * automatic HWPT where an IOAS was named (03 §5.2).
 */
import { Errno } from '../abi/errno.ts'
import type { Device } from './device.ts'
import { Hwpt, HwptPaging } from './hwpt.ts'
import { allocatePaging } from './hwpt-alloc.ts'
import { Ioas } from './ioas.ts'
import { type Caller, LookUpFails, NoSuchObject } from './objects.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const PtIsNoPageTable = reasonKind<{ id: number; found: string }>({
  code: 'pt-is-no-page-table',
  errno: 'EINVAL',
  cite: '03 §5.1',
  say: ({ id, found }) => `pt_id ${id} names a ${found}; a device attaches to an IOAS or an HWPT`,
  advice: 'Pass the ID that IOMMU_IOAS_ALLOC or IOMMU_HWPT_ALLOC returned.',
})

/** One attach or replace, of the RID or of a PASID, as the choice of an HWPT sees it. */
export interface Move {
  readonly kind: 'attach' | 'replace'
  readonly device: Device
  /** Checks and does it; on refusal nothing has changed. */
  to(hwpt: Hwpt): Result<void>
  /** Takes a successful attach back. */
  undo(): void
}

/** Carries out a move to what `ptId` names; returns the HWPT used. */
export const moveTo = (caller: Caller, move: Move, ptId: number): Result<Hwpt> => {
  if (caller.fails('look-up-object')) return refuse(LookUpFails, { id: ptId })
  const target = move.device.context.objects.peek(ptId)
  if (target === undefined)
    return refuse(NoSuchObject, { id: ptId, wanted: 'ioas or hwpt', found: undefined })
  if (target instanceof Ioas) return moveToAuto(caller, move, target)
  if (!(target instanceof Hwpt)) return refuse(PtIsNoPageTable, { id: ptId, found: target.type })
  const moved = move.to(target)
  return moved instanceof Refusal ? moved : target
}

const moveToAuto = (caller: Caller, move: Move, ioas: Ioas): Result<Hwpt> => {
  for (const candidate of [...ioas.domains]) {
    if (!(candidate instanceof HwptPaging) || !candidate.auto) continue
    const moved = move.to(candidate)
    if (!(moved instanceof Refusal)) return candidate
    if (moved.errno !== Errno.EINVAL) return moved
  }
  return moveToNew(caller, move, ioas)
}

/** The order differs: attach puts the device on the domain first, replace fills the domain first. */
const moveToNew = (caller: Caller, move: Move, ioas: Ioas): Result<Hwpt> => {
  const hwpt = allocatePaging(caller, move.device, ioas, { auto: true, flags: 0 })
  if (hwpt instanceof Refusal) return hwpt
  const refusal =
    move.kind === 'attach'
      ? attachThenFill(caller, move, hwpt)
      : fillThenReplace(caller, move, hwpt)
  if (refusal instanceof Refusal) {
    hwpt.discard()
    return refusal
  }
  ioas.context.objects.publish(hwpt)
  return hwpt
}

const attachThenFill = (caller: Caller, move: Move, hwpt: HwptPaging): Result<void> => {
  const moved = move.to(hwpt)
  if (moved instanceof Refusal) return moved
  const joined = hwpt.join(caller)
  if (joined instanceof Refusal) move.undo()
  return joined
}

const fillThenReplace = (caller: Caller, move: Move, hwpt: HwptPaging): Result<void> => {
  const joined = hwpt.join(caller)
  return joined instanceof Refusal ? joined : move.to(hwpt)
}
