/** VFIO_DEVICE_BIND_IOMMUFD (02 §5.4): gives a cdev file its device and an iommufd. */
import { type Fd, hex, type UserVa } from '../abi/brands.ts'
import { VFIO_DEVICE_BIND_FLAGS, VFIO_DEVICE_BIND_IOMMUFD } from '../abi/vfio/device.ts'
import { Context } from '../engine/context.ts'
import type { Machine } from '../engine/machine.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { readSizedStruct } from '../engine/sized-struct.ts'
import { addressAt, readExactly, writeExactly } from '../engine/vfio-struct.ts'
import type { DeviceFile } from './device-file.ts'

export const BindBadArguments = reasonKind<{ iommufd: Fd; flags: number }>({
  code: 'bind-bad-arguments',
  errno: 'EINVAL',
  cite: '02 §5.4 step 5',
  say: ({ iommufd, flags }) =>
    iommufd < 0
      ? `the iommufd descriptor is ${iommufd}`
      : `flags ${hex(flags)} has bits beside TOKEN (1)`,
  advice:
    'Pass the descriptor of an open iommufd; set flags to 0 or to VFIO_DEVICE_BIND_FLAG_TOKEN.',
})

export const BindOnGroupFile = reasonKind<{ device: string }>({
  code: 'bind-on-group-file',
  errno: 'EINVAL',
  cite: '02 §5.4 step 6',
  say: ({ device }) =>
    `this file of ${device} came from VFIO_GROUP_GET_DEVICE_FD, which bound it already`,
  advice: 'Open /dev/vfio/devices/vfioX to bind a device yourself.',
})

export const BindWhileGroupOpen = reasonKind<{ device: string; group: string }>({
  code: 'bind-while-group-open',
  errno: 'EBUSY',
  cite: '02 §5.4 step 7, §4.9',
  say: ({ device, group }) => `${device} cannot be bound while its group file ${group} is open`,
  advice:
    'Use either the group or the device nodes of a group, not both; close the group file first.',
})

export const BindAgain = reasonKind<{ device: string }>({
  code: 'bind-again',
  errno: 'EINVAL',
  cite: '02 §5.4 step 8',
  say: ({ device }) => `this file of ${device} is bound already, for as long as it is open`,
  advice: 'Bind each device file once; closing it unbinds.',
})

export const BindTokenNotKnown = reasonKind<{ driver: string }>({
  code: 'bind-token-not-known',
  errno: 'EINVAL',
  cite: '02 §5.4 step 9',
  say: ({ driver }) => `the driver ${driver} knows no VF tokens`,
  advice: 'Bind without VFIO_DEVICE_BIND_FLAG_TOKEN.',
})

export const BindIommufdNotOpen = reasonKind<{ fd: Fd }>({
  code: 'bind-iommufd-not-open',
  errno: 'EBADF',
  cite: '02 §5.4 step 10',
  say: ({ fd }) => `descriptor ${fd} is not open`,
  advice: 'Pass the descriptor of an open iommufd.',
})

export const BindNotAnIommufd = reasonKind<{ fd: Fd; what: string }>({
  code: 'bind-not-an-iommufd',
  errno: 'EBADFD',
  cite: '02 §5.4 step 10',
  say: ({ fd, what }) => `descriptor ${fd} (${what}) is not an iommufd`,
  advice: 'Pass a descriptor of /dev/iommu.',
})

const { VFIO_DEVICE_BIND_FLAG_TOKEN: TOKEN } = VFIO_DEVICE_BIND_FLAGS
const TOKEN_BYTES = 16
const NAME = VFIO_DEVICE_BIND_IOMMUFD.name

export const bindIommufd = (
  machine: Machine,
  file: DeviceFile,
  call: Call,
  argument: UserVa,
): Result<number> => {
  const args = readSizedStruct(machine, call, argument, VFIO_DEVICE_BIND_IOMMUFD)
  if (args instanceof Refusal) return args
  const { iommufd, flags } = args
  if (iommufd < 0 || (flags & ~TOKEN) !== 0) return refuse(BindBadArguments, { iommufd, flags })
  const { device } = file
  const { group } = device
  if (file.origin === 'group') return refuse(BindOnGroupFile, { device: device.name })
  if (group.opener !== undefined)
    return refuse(BindWhileGroupOpen, { device: device.name, group: group.path })
  if (file.granted) return refuse(BindAgain, { device: device.name })
  const token = (flags & TOKEN) !== 0 ? args.token_uuid_ptr : undefined
  const tokenRefused = checkToken(file, call, token)
  if (tokenRefused instanceof Refusal) return tokenRefused
  const context = findIommufd(call, iommufd)
  if (context instanceof Refusal) return context

  const id = device.openThroughCdev(context, call)
  if (id instanceof Refusal) return id
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, id, true)
  const { offset } = VFIO_DEVICE_BIND_IOMMUFD.struct.place('out_devid')
  const written = writeExactly(call, addressAt(argument, offset), out, NAME)
  if (written instanceof Refusal) {
    device.closeFile()
    return written
  }
  file.granted = true
  group.boundCdevs.add(device)
  return 0
}

const checkToken = (file: DeviceFile, call: Call, address: UserVa | undefined): Result<void> => {
  const { driver } = file.device
  if (driver.checkToken === undefined)
    return address === undefined ? undefined : refuse(BindTokenNotKnown, { driver: driver.name })
  if (address === undefined) return driver.checkToken(undefined)
  const token = readExactly(call, address, TOKEN_BYTES, 'the VF token')
  return token instanceof Refusal ? token : driver.checkToken(token)
}

const findIommufd = (call: Call, fd: Fd): Result<Context> => {
  const file = call.file(fd)
  if (file === undefined) return refuse(BindIommufdNotOpen, { fd })
  if (file instanceof Context) return file
  return refuse(BindNotAnIommufd, { fd, what: 'foreign' in file ? file.name : file.kind })
}
