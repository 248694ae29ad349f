/** VFIO_DEVICE_ATTACH_IOMMUFD_PT and DETACH on a bound cdev file (02 §5.5, §5.6). */
import { hex, type ObjectId, type Pasid, pasid as toPasid, type UserVa } from '../abi/brands.ts'
import {
  VFIO_DEVICE_ATTACH_FLAGS,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_DETACH_FLAGS,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
} from '../abi/vfio/device.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { addressAt, readExactly, readVfioStruct, writeExactly } from '../engine/vfio-struct.ts'
import type { BoundDevice } from './binding.ts'
import type { VfioDevice } from './device.ts'

export const AttachUnknownFlags = reasonKind<{ request: string; flags: number }>({
  code: 'attach-unknown-flags',
  errno: 'EINVAL',
  cite: '02 §5.5 step 3, §5.6 step 3',
  say: ({ request, flags }) => `${request} with flags ${hex(flags)}: only PASID (1) is known`,
  advice: 'Set flags to 0 or to VFIO_DEVICE_ATTACH_PASID.',
})

export const AttachPasidNotOffered = reasonKind<{ driver: string }>({
  code: 'attach-pasid-not-offered',
  errno: 'EOPNOTSUPP',
  cite: '02 §5.5 step 4, §5.6 step 4',
  say: ({ driver }) => `the driver ${driver} cannot attach PASIDs`,
  advice: 'Attach without the PASID flag; emulated devices have no PASIDs.',
})

export const AttachPasidNotProvided = reasonKind<{ request: string; argsz: number; end: number }>({
  code: 'attach-pasid-not-provided',
  errno: 'EINVAL',
  cite: '02 §5.5 step 5, §5.6 step 5',
  say: ({ request, argsz, end }) =>
    `${request} with the PASID flag takes ${end} bytes, argsz says ${argsz}`,
  advice: 'Set argsz to sizeof the structure, with its member pasid.',
})

const ATTACH = VFIO_DEVICE_ATTACH_IOMMUFD_PT
const DETACH = VFIO_DEVICE_DETACH_IOMMUFD_PT
const { VFIO_DEVICE_ATTACH_PASID } = VFIO_DEVICE_ATTACH_FLAGS
const { VFIO_DEVICE_DETACH_PASID } = VFIO_DEVICE_DETACH_FLAGS

const boundOf = (device: VfioDevice): BoundDevice => {
  if (device.bound === undefined) throw new Error(`${device.name} has a bound file but is unbound`)
  return device.bound
}

/** The `pasid` that follows the minimum, when the flag asks for it. */
const readPasid = (
  call: Call,
  argument: UserVa,
  request: string,
  argsz: number,
  offset: number,
): Result<Pasid> => {
  const end = offset + 4
  if (argsz < end) return refuse(AttachPasidNotProvided, { request, argsz, end })
  const bytes = readExactly(call, addressAt(argument, offset), 4, `the pasid of ${request}`)
  if (bytes instanceof Refusal) return bytes
  return toPasid(new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true))
}

export const attachPageTable = (
  machine: Machine,
  device: VfioDevice,
  call: Call,
  argument: UserVa,
): Result<number> => {
  const args = readVfioStruct(machine, call, argument, ATTACH)
  if (args instanceof Refusal) return args
  const { flags, argsz, pt_id: target } = args
  if ((flags & ~VFIO_DEVICE_ATTACH_PASID) !== 0)
    return refuse(AttachUnknownFlags, { request: ATTACH.name, flags })
  const bound = boundOf(device)
  const attached =
    (flags & VFIO_DEVICE_ATTACH_PASID) !== 0
      ? attachPasid(device, bound, call, argument, argsz, target)
      : bound.attach(target, call)
  if (attached instanceof Refusal) return attached

  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, attached, true)
  const { offset } = ATTACH.struct.place('pt_id')
  const written = writeExactly(call, addressAt(argument, offset), out, ATTACH.name)
  if (written instanceof Refusal) {
    // The device's own attachment goes, also after a replace and also in PASID mode.
    bound.detach()
    return written
  }
  return 0
}

const attachPasid = (
  device: VfioDevice,
  bound: BoundDevice,
  call: Call,
  argument: UserVa,
  argsz: number,
  target: ObjectId,
): Result<ObjectId> => {
  if (bound.attachPasid === undefined)
    return refuse(AttachPasidNotOffered, { driver: device.driver.name })
  const { offset } = ATTACH.struct.place('pasid')
  const pasid = readPasid(call, argument, ATTACH.name, argsz, offset)
  return pasid instanceof Refusal ? pasid : bound.attachPasid(pasid, target, call)
}

export const detachPageTable = (
  machine: Machine,
  device: VfioDevice,
  call: Call,
  argument: UserVa,
): Result<number> => {
  const args = readVfioStruct(machine, call, argument, DETACH)
  if (args instanceof Refusal) return args
  const { flags, argsz } = args
  if ((flags & ~VFIO_DEVICE_DETACH_PASID) !== 0)
    return refuse(AttachUnknownFlags, { request: DETACH.name, flags })
  const bound = boundOf(device)
  if ((flags & VFIO_DEVICE_DETACH_PASID) === 0) {
    bound.detach()
    return 0
  }
  if (bound.detachPasid === undefined)
    return refuse(AttachPasidNotOffered, { driver: device.driver.name })
  const { offset } = DETACH.struct.place('pasid')
  const pasid = readPasid(call, argument, DETACH.name, argsz, offset)
  if (pasid instanceof Refusal) return pasid
  bound.detachPasid(pasid)
  return 0
}
