/** The string that VFIO_GROUP_GET_DEVICE_FD takes (02 §4.6 step 1). */
import type { UserVa } from '../abi/brands.ts'
import type { Call } from '../engine/ports.ts'
import { type Result, reasonKind, refuse } from '../engine/reason.ts'
import { VfioArgumentUnreadable } from '../engine/vfio-struct.ts'

/** The terminating zero byte included. */
const LONGEST = 4096

export const DeviceNameTooLong = reasonKind({
  code: 'device-name-too-long',
  errno: 'EINVAL',
  cite: '02 §4.6 step 1',
  say: () => `the device name has no zero byte within ${LONGEST} bytes`,
  advice: "Pass the device's name as a string, such as 0000:06:0d.0.",
})

export const readDeviceName = (call: Call, address: UserVa): Result<string> => {
  const bytes = call.memory.read(address, LONGEST)
  const end = bytes.indexOf(0)
  if (end >= 0) return new TextDecoder().decode(bytes.subarray(0, end))
  if (bytes.length === LONGEST) return refuse(DeviceNameTooLong, {})
  return refuse(VfioArgumentUnreadable, {
    what: 'the device name',
    address,
    needed: bytes.length + 1,
    readable: bytes.length,
  })
}
