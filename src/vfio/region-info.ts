/** VFIO_DEVICE_GET_REGION_INFO, the part that is the same for all drivers (02 §5.9). */
import type { UserVa } from '../abi/brands.ts'
import { encode } from '../abi/layout.ts'
import { vfio_info_cap_header } from '../abi/vfio/capability.ts'
import { VFIO_DEVICE_GET_REGION_INFO, VFIO_REGION_INFO_FLAGS } from '../abi/vfio/region.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { addressAt, readVfioStruct, writeExactly, writeVfioStruct } from '../engine/vfio-struct.ts'
import type { RegionCapability, VfioDriver } from './driver.ts'

export const DriverHasNoRegions = reasonKind<{ driver: string }>({
  code: 'driver-has-no-regions',
  errno: 'EINVAL',
  cite: '02 §5.9 step 1',
  say: ({ driver }) => `the driver ${driver} has no regions`,
  advice: 'Ask VFIO_DEVICE_GET_INFO for num_regions first.',
})

const DECLARED = VFIO_DEVICE_GET_REGION_INFO
const STRUCT_SIZE = 32
const HEADER_SIZE = vfio_info_cap_header.size

export const getRegionInfo = (
  machine: Machine,
  driver: VfioDriver,
  call: Call,
  argument: UserVa,
): Result<number> => {
  if (driver.regionInfo === undefined) return refuse(DriverHasNoRegions, { driver: driver.name })
  const args = readVfioStruct(machine, call, argument, DECLARED)
  if (args instanceof Refusal) return args
  const region = driver.regionInfo(args.index)
  if (region instanceof Refusal) return region

  const chain = encodeChain(region.capabilities ?? [])
  const fits = args.argsz >= STRUCT_SIZE + chain.length
  let { argsz, cap_offset } = args
  if (chain.length > 0) {
    cap_offset = fits ? STRUCT_SIZE : 0
    if (!fits) argsz = STRUCT_SIZE + chain.length
    else {
      const written = writeExactly(call, addressAt(argument, STRUCT_SIZE), chain, DECLARED.name)
      if (written instanceof Refusal) return written
    }
  }
  const { size, offset } = region
  const flags =
    region.flags | (chain.length > 0 ? VFIO_REGION_INFO_FLAGS.VFIO_REGION_INFO_FLAG_CAPS : 0)
  const answer = { argsz, flags, index: args.index, cap_offset, size, offset }
  return writeVfioStruct(machine, call, argument, DECLARED, answer, STRUCT_SIZE) ?? 0
}

const slotOf = ({ payload }: RegionCapability): number =>
  Math.ceil((HEADER_SIZE + payload.length) / 8) * 8

/** `next` counts from the start of the structure; each slot is a multiple of 8 bytes. */
const encodeChain = (capabilities: readonly RegionCapability[]): Uint8Array => {
  const chain = new Uint8Array(capabilities.reduce((sum, cap) => sum + slotOf(cap), 0))
  let at = 0
  for (const cap of capabilities) {
    const end = at + slotOf(cap)
    const next = end < chain.length ? STRUCT_SIZE + end : 0
    const { id, version } = cap
    chain.set(encode(vfio_info_cap_header, { id, version, next }), at)
    chain.set(cap.payload, at + HEADER_SIZE)
    at = end
  }
  return chain
}
