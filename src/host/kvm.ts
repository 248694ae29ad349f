/**
 * KVM is told of VFIO files that belong to a virtual machine (KVM's "VFIO virtual device"). It looks whether
 * they are VFIO's, which ours are not to the kernel; and some VMMs give up a device that KVM refuses. What
 * KVM does with them, coherence of DMA that bypasses caches and MSIs of other architectures, needs nothing
 * here: the supervisor answers in KVM's place.
 */
import { type Fd, fd, type UserVa } from '../abi/brands.ts'
import type { Server } from './server.ts'

/** _IOW(0xae, 0xe1, struct kvm_device_attr) */
export const KVM_SET_DEVICE_ATTR = 0x4018_aee1
const ATTRIBUTE_SIZE = 24
/** Of struct kvm_device_attr: the group of attributes, the attribute, where its value is. */
const [GROUP, ATTRIBUTE, ADDRESS] = [4, 8, 16]
const KVM_DEV_VFIO_FILE = 1
const ADD = 1n
const DELETE = 2n

/** Answers the ioctl if it adds or removes a file of ours; false if it is something else. */
export const answersForKvm = (server: Server): boolean => {
  const { notifications, memory, call } = server
  if (notifications.int(1) >>> 0 !== KVM_SET_DEVICE_ATTR) return false
  const bytes = memory.read(notifications.argument(2) as UserVa, ATTRIBUTE_SIZE)
  if (bytes.length < ATTRIBUTE_SIZE) return false
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const attribute = view.getBigUint64(ATTRIBUTE, true)
  if (view.getUint32(GROUP, true) !== KVM_DEV_VFIO_FILE) return false
  if (attribute !== ADD && attribute !== DELETE) return false
  const value = memory.read(view.getBigUint64(ADDRESS, true) as UserVa, 4)
  if (value.length < 4) return false
  const number: Fd = fd(new DataView(value.buffer, value.byteOffset).getInt32(0, true))
  const file = call.file(number)
  if (file === undefined || 'foreign' in file) return false
  notifications.succeed(0)
  return true
}
