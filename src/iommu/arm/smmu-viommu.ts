/** The SMMUv3's vIOMMU: the guest's stream table entries and its command queue (07 §12.3; 03 §15.4). */
import { hex } from '../../abi/brands.ts'
import {
  iommu_hwpt_arm_smmuv3,
  iommu_viommu_arm_smmuv3_invalidate,
} from '../../abi/iommufd/hwpt.ts'
import type {
  DriverArray,
  DriverData,
  NestedDomain,
  ViommuOps,
  ViommuServices,
} from '../../engine/iommu-driver.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { SmmuNestedDomain, type SmmuPagingDomain, type SteConfig } from './smmu-domains.ts'
import type { SmmuIommu } from './smmu-iommu.ts'

const DATA_SMMUV3 = 2
const INVALIDATE_SMMUV3 = 1

export const SmmuNestedFlag = reasonKind<{ flags: number }>({
  code: 'smmu-nested-flag',
  errno: 'EOPNOTSUPP',
  cite: '07 §12.3',
  say: ({ flags }) =>
    `a nested page table of an SMMU takes no flags but FAULT_ID_VALID, not ${hex(flags)}`,
  advice: 'Set flags to 0 or to IOMMU_HWPT_FAULT_ID_VALID.',
})

export const SmmuNestedDataType = reasonKind<{ type: number }>({
  code: 'smmu-nested-data-type',
  errno: 'EINVAL',
  cite: '07 §12.3',
  say: ({ type }) => `the data must be of type 2 (ARM_SMMUV3), not ${hex(type)}`,
  advice: 'Set data_type to IOMMU_HWPT_DATA_ARM_SMMUV3 and pass a struct iommu_hwpt_arm_smmuv3.',
})

export const SmmuSteInvalid = reasonKind<{ word0: bigint; word1: bigint; why: string }>({
  code: 'smmu-ste-invalid',
  errno: 'EIO',
  cite: '07 §12.3',
  say: ({ word0, word1, why }) =>
    `the stream table entry {${hex(word0)}, ${hex(word1)}} cannot be used: ${why}`,
  advice:
    "Pass the guest's stream table entry as it is in memory, and only one that is valid: fields that the host owns must be 0.",
})

export const SmmuInvalidateType = reasonKind<{ type: number }>({
  code: 'smmu-invalidate-type',
  errno: 'EINVAL',
  cite: '07 §12.3',
  say: ({ type }) => `invalidation requests of an SMMU are of type 1, not ${hex(type)}`,
  advice: 'Set data_type to IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3.',
})

export const SmmuCommandUnknown = reasonKind<{ opcode: number }>({
  code: 'smmu-command-unknown',
  errno: 'EIO',
  cite: '07 §12.3',
  say: ({ opcode }) => `the command ${hex(opcode)} cannot be passed through a vIOMMU`,
  advice:
    'Pass on invalidations only (CMD_TLBI_*, CMD_ATC_INV, CMD_CFGI_CD); what else a guest commands, the VMM carries out itself.',
})

export const SmmuStreamUnknown = reasonKind<{ streamId: bigint }>({
  code: 'smmu-stream-unknown',
  errno: 'EIO',
  cite: '07 §12.3',
  say: ({ streamId }) => `no vDEVICE of this vIOMMU has the virtual stream ID ${hex(streamId)}`,
  advice: 'Allocate a vDEVICE with that virt_id before the guest uses the stream.',
})

const STE_VALID = 1n
const STE_WORD0 = 0xf80f_ffff_ffff_ffffn
const STE_WORD1 = 0x3800_00ffn
const CONFIGS: ReadonlyMap<bigint, SteConfig> = new Map([
  [0n, 'abort'],
  [4n, 'bypass'],
  [5n, 'stage1'],
])

/** Commands that name no stream, and those that do. */
const TLB_COMMANDS = new Set([0x10, 0x11, 0x12, 0x13, 0x30])
const STREAM_COMMANDS = new Set([0x40, 0x5, 0x6])

export const smmuViommu = (
  driver: SmmuIommu,
  viommu: ViommuServices,
  parent: SmmuPagingDomain,
): ViommuOps => ({
  allocNested: (_device, flags, data) => allocNested({ driver, viommu, parent }, flags, data),
  invalidate: (requests) => invalidate(viommu, requests),
})

const allocNested = (
  on: { driver: SmmuIommu; viommu: ViommuServices; parent: SmmuPagingDomain },
  flags: number,
  data: DriverData,
): Result<NestedDomain> => {
  if (flags !== 0) return refuse(SmmuNestedFlag, { flags })
  if (data.type !== DATA_SMMUV3) return refuse(SmmuNestedDataType, { type: data.type })
  const { size } = iommu_hwpt_arm_smmuv3
  const bytes = data.copyIn(DATA_SMMUV3, size, size)
  if (bytes instanceof Refusal) return bytes
  const [word0 = 0n, word1 = 0n] = iommu_hwpt_arm_smmuv3.decode(bytes).ste
  const config = steConfig(word0, word1)
  return config instanceof Refusal
    ? config
    : new SmmuNestedDomain(on.driver, on.parent, on.viommu, config)
}

const steConfig = (word0: bigint, word1: bigint): Result<SteConfig> => {
  const invalid = (why: string): Refusal => refuse(SmmuSteInvalid, { word0, word1, why })
  if ((word0 & STE_VALID) === 0n) return 'abort'
  if ((word0 & ~STE_WORD0) !== 0n || (word1 & ~STE_WORD1) !== 0n)
    return invalid('a bit is set that a guest may not set')
  const config = CONFIGS.get((word0 >> 1n) & 7n)
  if (config === undefined) return invalid('Cfg is not abort (0), bypass (4) or stage 1 (5)')
  if (((word1 >> 28n) & 3n) > 1n) return invalid('EATS is not 0 or 1')
  return config
}

const invalidate = (viommu: ViommuServices, requests: DriverArray): Result<void> => {
  if (requests.type !== INVALIDATE_SMMUV3)
    return refuse(SmmuInvalidateType, { type: requests.type })
  if (requests.entryCount === 0) return
  const { size, decode } = iommu_viommu_arm_smmuv3_invalidate
  const all = requests.copyAll(INVALIDATE_SMMUV3, size)
  if (all instanceof Refusal) return all
  for (let at = 0; at < all.length; at += size) {
    const [word0 = 0n] = decode(all.subarray(at, at + size)).cmd
    const opcode = Number(word0 & 0xffn)
    if (STREAM_COMMANDS.has(opcode)) {
      const streamId = word0 >> 32n
      if (viommu.deviceOf(streamId) === undefined) return refuse(SmmuStreamUnknown, { streamId })
    } else if (!TLB_COMMANDS.has(opcode)) return refuse(SmmuCommandUnknown, { opcode })
    requests.handled++
  }
}
