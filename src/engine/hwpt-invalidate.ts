/** IOMMU_HWPT_INVALIDATE (03 §11): requests of the user to the caches of a nested HWPT or a vIOMMU. */
import { hex, type UserVa } from '../abi/brands.ts'
import { IOMMU_HWPT_INVALIDATE } from '../abi/iommufd/hwpt.ts'
import { command } from './command.ts'
import type { Context } from './context.ts'
import { UserRequestArray } from './driver-data.ts'
import { HwptNested } from './hwpt.ts'
import type { DriverArray } from './iommu-driver.ts'
import { LookUpFails, NoSuchObject } from './objects.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'
import { Viommu } from './viommu.ts'

const MAX_ENTRY_LENGTH = 4096
const MAX_ENTRIES = 0x8_0000

export const InvalidateReservedNotZero = reasonKind<{ value: number }>({
  code: 'invalidate-reserved-not-zero',
  errno: 'EOPNOTSUPP',
  cite: '03 §11.2 step 2',
  say: ({ value }) => `__reserved is ${hex(value)} and must be 0`,
  advice: 'Set the whole structure to zero before filling it in.',
})

export const InvalidateArrayInvalid = reasonKind<{
  address: UserVa
  entryLength: number
  entries: number
}>({
  code: 'invalidate-array-invalid',
  errno: 'EINVAL',
  cite: '03 §11.2 step 3',
  say: ({ address, entryLength, entries }) =>
    `${entries} entries of ${entryLength} bytes at ${hex(address)}: the address must not be 0, an entry has 1 to ` +
    `${MAX_ENTRY_LENGTH} bytes, and there are at most ${MAX_ENTRIES}`,
  advice:
    'Point data_uptr to the array and set entry_len to sizeof one request and entry_num to their number.',
})

export const InvalidateNotOffered = reasonKind<{ object: string }>({
  code: 'invalidate-not-offered',
  errno: 'EOPNOTSUPP',
  cite: '03 §11.2 step 5',
  say: ({ object }) => `the IOMMU driver has no invalidation for ${object}`,
  advice: 'Invalidate a nested HWPT where the driver offers it, or the vIOMMU instead.',
})

export const InvalidateOfOtherObject = reasonKind<{ object: string }>({
  code: 'invalidate-of-other-object',
  errno: 'EINVAL',
  cite: '03 §11.2 step 6',
  say: ({ object }) => `${object} has no caches of the user: only nested HWPTs and vIOMMUs do`,
  advice: 'Pass the ID of a nested HWPT or of a vIOMMU: changes of an IOAS need no invalidation.',
})

/** From the first check of its own on, the struct is written back on every outcome (03 §11.3). */
export const hwptInvalidate = command(
  IOMMU_HWPT_INVALIDATE,
  ({ args, call, context, respond }): Result<void> => {
    const requests = new UserRequestArray(
      call,
      args.data_uptr,
      args.data_type,
      args.entry_len,
      args.entry_num,
    )
    const result =
      args.__reserved !== 0
        ? refuse(InvalidateReservedNotZero, { value: args.__reserved })
        : invalidate(context, call, args.hwpt_id, args.data_uptr, requests)
    const written = respond({ entry_num: requests.handled })
    return written instanceof Refusal ? written : result
  },
)

const invalidate = (
  context: Context,
  call: Call,
  id: number,
  address: UserVa,
  requests: DriverArray,
): Result<void> => {
  const { entryCount: entries, entryLength } = requests
  if (
    entries !== 0 &&
    (address === 0n || entryLength === 0 || entryLength > MAX_ENTRY_LENGTH || entries > MAX_ENTRIES)
  )
    return refuse(InvalidateArrayInvalid, { address, entryLength, entries })
  if (call.fails('look-up-object')) return refuse(LookUpFails, { id })
  const target = context.objects.peek(id)
  if (target === undefined)
    return refuse(NoSuchObject, { id, wanted: 'hwpt-nested or viommu', found: undefined })
  const operation =
    target instanceof HwptNested
      ? target.domain.invalidate?.bind(target.domain)
      : target instanceof Viommu
        ? target.ops.invalidate?.bind(target.ops)
        : refuse(InvalidateOfOtherObject, { object: String(target) })
  if (operation instanceof Refusal) return operation
  if (operation === undefined) return refuse(InvalidateNotOffered, { object: String(target) })
  const result = operation(requests)
  if (context.machine.observer !== undefined)
    context.emit({
      type: 'invalidated',
      object: target.id,
      requests: entries,
      handled: requests.handled,
    })
  return result
}
