/** IOMMU_GET_HW_INFO (03 §10): what the IOMMU in front of a device can do. */
import { hex, type UserVa } from '../abi/brands.ts'
import { IOMMU_GET_HW_INFO } from '../abi/iommufd/hw-info.ts'
import { command } from './command.ts'
import { Device } from './device.ts'
import type { IommuDevice } from './iommu-driver.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

const FLAG_INPUT_TYPE = 1

const CAP_DIRTY_TRACKING = 1n
const CAP_PCI_PASID_EXEC = 2n
const CAP_PCI_PASID_PRIV = 4n
const CAP_PCI_ATS_NOT_SUPPORTED = 8n

export const HwInfoFlagsUnknown = reasonKind<{ flags: number }>({
  code: 'hw-info-flags-unknown',
  errno: 'EOPNOTSUPP',
  cite: '03 §10.2 step 2',
  say: ({ flags }) => `flags ${hex(flags)} has bits beyond IOMMU_HW_INFO_FLAG_INPUT_TYPE`,
  advice: 'Set flags to 0 or to IOMMU_HW_INFO_FLAG_INPUT_TYPE.',
})

export const HwInfoReservedNotZero = reasonKind({
  code: 'hw-info-reserved-not-zero',
  errno: 'EOPNOTSUPP',
  cite: '03 §10.2 step 3',
  say: () => 'a byte of __reserved is not 0',
  advice: 'Set the whole structure to zero before filling it in.',
})

export const HwInfoUnwritable = reasonKind<{ address: UserVa; length: number }>({
  code: 'hw-info-unwritable',
  errno: 'EFAULT',
  cite: '03 §10.2 steps 7 and 8',
  say: ({ address, length }) =>
    `the ${length} bytes at data_uptr ${hex(address)} cannot be written`,
  advice: 'Point data_uptr to data_len writable bytes; a data_len of 0 asks for the length only.',
})

export const getHwInfo = command(
  IOMMU_GET_HW_INFO,
  ({ args, call, context, respond }): Result<void> => {
    if ((args.flags & ~FLAG_INPUT_TYPE) !== 0)
      return refuse(HwInfoFlagsUnknown, { flags: args.flags })
    if (args.__reserved.some((byte) => byte !== 0)) return refuse(HwInfoReservedNotZero, {})
    const wanted = (args.flags & FLAG_INPUT_TYPE) === 0 ? 0 : args.in_data_type
    const device = context.objects.find(args.dev_id, Device, 'device', call)
    if (device instanceof Refusal) return device
    const { iommuDevice } = device
    const info = iommuDevice.instance.driver.hwInfo?.(iommuDevice, wanted) ?? NO_INFO
    if (info instanceof Refusal) return info
    const refusal = copyOut(call, args.data_uptr, args.data_len, info.data)
    if (refusal !== undefined) return refusal
    return respond({
      data_len: info.data.length,
      out_data_type: info.type,
      out_max_pasid_log2: log2(iommuDevice.maxPasids),
      out_capabilities: capabilities(iommuDevice),
    })
  },
)

/** A driver without the operation reports nothing, whatever was asked. */
const NO_INFO = { type: 0, data: new Uint8Array(0) }

/** What fits of the information, then zeroes up to the caller's length. */
const copyOut = (
  call: Call,
  address: UserVa,
  length: number,
  data: Uint8Array,
): Refusal | undefined => {
  if (!writeAll(call, address, data.subarray(0, length)))
    return refuse(HwInfoUnwritable, { address, length })
  const zeroes = new Uint8Array(Math.min(ZEROES, Math.max(0, length - data.length)))
  for (let done = data.length; done < length; done += zeroes.length)
    if (!writeAll(call, (address + BigInt(done)) as UserVa, zeroes.subarray(0, length - done)))
      return refuse(HwInfoUnwritable, { address, length })
}

const ZEROES = 0x1_0000

const writeAll = (call: Call, address: UserVa, bytes: Uint8Array): boolean =>
  bytes.length === 0 ||
  (!call.fails('copy-to-user') && call.memory.write(address, bytes) === bytes.length)

const log2 = (count: number): number => (count === 0 ? 0 : Math.floor(Math.log2(count)))

const capabilities = (device: IommuDevice): bigint => {
  const { driver } = device.instance
  const pasidPci = device.maxPasids !== 0 ? device.pci : undefined
  return (
    (driver.capable(device, 'dirty-tracking') ? CAP_DIRTY_TRACKING : 0n) |
    (pasidPci?.pasidExec ? CAP_PCI_PASID_EXEC : 0n) |
    (pasidPci?.pasidPriv ? CAP_PCI_PASID_PRIV : 0n) |
    (driver.capable(device, 'ats') ? 0n : CAP_PCI_ATS_NOT_SUPPORTED)
  )
}
