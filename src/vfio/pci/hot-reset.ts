/** VFIO_DEVICE_GET_PCI_HOT_RESET_INFO and VFIO_DEVICE_PCI_HOT_RESET (06 §7.2, §7.3). */
import { type Fd, fd, type ObjectId, type UserVa } from '../../abi/brands.ts'
import { encode } from '../../abi/layout.ts'
import {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_PCI_DEVIDS,
  VFIO_PCI_HOT_RESET_FLAGS,
  vfio_pci_dependent_device,
} from '../../abi/vfio/pci.ts'
import type { Machine } from '../../engine/machine.ts'
import type { Call } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import {
  addressAt,
  readExactly,
  readVfioStruct,
  writeExactly,
  writeVfioStruct,
} from '../../engine/vfio-struct.ts'
import { GroupFile } from '../group-file.ts'
import { devfn } from './pci-slot.ts'
import type { VfioPci } from './vfio-pci.ts'

export const NoBusReset = reasonKind<{ device: string }>({
  code: 'no-bus-reset',
  errno: 'ENODEV',
  cite: '06 §7.2, §7.3',
  say: ({ device }) => `${device} is on the root bus, which cannot be reset`,
  advice: 'Use VFIO_DEVICE_RESET.',
})
export const HotResetInfoTooShort = reasonKind<{ needed: number; room: number }>({
  code: 'hot-reset-info-too-short',
  errno: 'ENOSPC',
  cite: '06 §7.2',
  say: ({ needed, room }) =>
    `${needed} functions are affected, argsz has room for ${room}; count tells how many`,
  advice: 'Call again with argsz 12 + 8 * count.',
})
export const HotResetFlags = reasonKind<{ flags: number }>({
  code: 'hot-reset-flags',
  errno: 'EINVAL',
  cite: '06 §7.3',
  say: ({ flags }) => `flags 0x${flags.toString(16)} must be 0`,
  advice: 'Set flags to 0.',
})
export const HotResetCount = reasonKind<{ count: number; why: string }>({
  code: 'hot-reset-count',
  errno: 'EINVAL',
  cite: '06 §7.3',
  say: ({ count, why }) => `count is ${count}: ${why}`,
  advice:
    'Pass the groups that VFIO_DEVICE_GET_PCI_HOT_RESET_INFO lists, each once; none for devices that are bound to an iommufd.',
})
export const HotResetGroupNotOpen = reasonKind<{ fd: Fd }>({
  code: 'hot-reset-group-not-open',
  errno: 'EBADF',
  cite: '06 §7.3',
  say: ({ fd }) => `descriptor ${fd} is not open`,
  advice: 'Pass open descriptors of VFIO groups.',
})
export const HotResetNotAGroup = reasonKind<{ fd: Fd }>({
  code: 'hot-reset-not-a-group',
  errno: 'EINVAL',
  cite: '06 §7.3',
  say: ({ fd }) => `descriptor ${fd} is not a VFIO group`,
  advice: 'Pass descriptors of /dev/vfio/N.',
})
export const HotResetNotCovered = reasonKind<{ device: string }>({
  code: 'hot-reset-not-covered',
  errno: 'EINVAL',
  cite: '06 §7.3',
  say: ({ device }) => `${device} would be reset too, and the caller has not shown that it owns it`,
  advice: 'Give the group descriptors of all affected functions.',
})

const INFO_HEADER = 12
const ENTRY = vfio_pci_dependent_device.size
const { VFIO_PCI_DEVID_OWNED: OWNED, VFIO_PCI_DEVID_NOT_OWNED: NOT_OWNED } = VFIO_PCI_DEVIDS

/** As a cdev-opened device sees another function: its ID, owned without one, or not owned. */
const devidOf = (seen: VfioPci, from: VfioPci): number => {
  const context = from.boundContext
  if (context === undefined) return NOT_OWNED
  if (seen.boundContext === context) return seen.boundId ?? OWNED
  return seen.groupOwner === context ? OWNED : NOT_OWNED
}

export const hotResetInfo = (
  machine: Machine,
  call: Call,
  argument: UserVa,
  pci: VfioPci,
): Result<number> => {
  const declared = VFIO_DEVICE_GET_PCI_HOT_RESET_INFO
  const args = readVfioStruct(machine, call, argument, declared)
  if (args instanceof Refusal) return args
  if (pci.bus.isRoot) return refuse(NoBusReset, { device: pci.bdf })
  const affected = pci.bus.functions
  const count = affected.length
  const room = Math.floor((args.argsz - INFO_HEADER) / ENTRY)
  const head = (flags: number): Result<void> =>
    writeVfioStruct(
      machine,
      call,
      argument,
      declared,
      { argsz: args.argsz, flags, count },
      INFO_HEADER,
    )
  if (count > room) return head(0) ?? refuse(HotResetInfoTooShort, { needed: count, room })
  const ids = affected.map((seen) =>
    pci.openedThroughCdev ? devidOf(seen, pci) : seen.groupNumber,
  )
  for (const [i, seen] of affected.entries()) {
    const entry = {
      devid: (ids[i] ?? NOT_OWNED) as ObjectId,
      segment: seen.address.domain,
      bus: seen.address.bus,
      devfn: devfn(seen.address),
    }
    const bytes = encode(vfio_pci_dependent_device, entry)
    const at = addressAt(argument, INFO_HEADER + i * ENTRY)
    const written = writeExactly(call, at, bytes, declared.name)
    if (written instanceof Refusal) return written
  }
  const all = VFIO_PCI_HOT_RESET_FLAGS
  const flags = !pci.openedThroughCdev
    ? 0
    : all.VFIO_PCI_HOT_RESET_FLAG_DEV_ID |
      (ids.includes(NOT_OWNED) ? 0 : all.VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED)
  return head(flags) ?? 0
}

export const hotReset = (
  machine: Machine,
  call: Call,
  argument: UserVa,
  pci: VfioPci,
): Result<number> => {
  const args = readVfioStruct(machine, call, argument, VFIO_DEVICE_PCI_HOT_RESET)
  if (args instanceof Refusal) return args
  const { flags, count } = args
  if (flags !== 0) return refuse(HotResetFlags, { flags })
  if (pci.openedThroughCdev && count !== 0)
    return refuse(HotResetCount, { count, why: 'a device opened by its own node gives no groups' })
  if (!pci.openedThroughCdev && count === 0)
    return refuse(HotResetCount, {
      count,
      why: 'a device opened through its group must give groups',
    })
  if (pci.bus.isRoot) return refuse(NoBusReset, { device: pci.bdf })
  const affected = pci.bus.functions
  if (count > affected.length)
    return refuse(HotResetCount, { count, why: `only ${affected.length} functions are affected` })
  const groups = readGroups(call, addressAt(argument, INFO_HEADER), count)
  if (groups instanceof Refusal) return groups
  for (const other of affected) {
    const owned = pci.openedThroughCdev
      ? devidOf(other, pci) !== NOT_OWNED
      : groups.has(other.groupNumber)
    if (!owned) return refuse(HotResetNotCovered, { device: other.bdf })
  }
  for (const other of affected) other.resetFunction()
  return 0
}

const readGroups = (call: Call, at: UserVa, count: number): Result<Set<number>> => {
  const bytes = readExactly(call, at, count * 4, VFIO_DEVICE_PCI_HOT_RESET.name)
  if (bytes instanceof Refusal) return bytes
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const groups = new Set<number>()
  for (let i = 0; i < count; i++) {
    const descriptor = fd(view.getInt32(i * 4, true))
    const file = call.file(descriptor)
    if (file === undefined) return refuse(HotResetGroupNotOpen, { fd: descriptor })
    if (!(file instanceof GroupFile)) return refuse(HotResetNotAGroup, { fd: descriptor })
    groups.add(file.group.number)
  }
  return groups
}
