/**
 * Ready-made platforms (07 §13): what a machine's IOMMU reports and allows, as values. Register values
 * marked "observed" come from public logs of machines; "made up" ones are consistent in themselves.
 */

import { AmdIommu, type AmdOptions } from './amd/amd-iommu.ts'
import { SmmuIommu, type SmmuOptions } from './arm/smmu-iommu.ts'
import { VtdIommu, type VtdOptions } from './intel/vtd-iommu.ts'
import { RiscvIommu, type RiscvOptions } from './riscv/riscv-iommu.ts'
import type { TableMemory } from './table-memory.ts'
import { EVERY_PAGE_SIZE, VirtioIommu, type VirtioOptions } from './virtio/virtio-iommu.ts'
import { x86MsiWindow } from './x86-regions.ts'

/** A driver together with the one unit that simulated devices stand behind. */
export type PlatformIommu = VtdIommu | AmdIommu | SmmuIommu | VirtioIommu | RiscvIommu

export interface Platform {
  /** As `--platform` names it. */
  readonly name: string
  readonly description: string
  create(tableMemory?: TableMemory): PlatformIommu
}

const intel = (name: string, description: string, registers: VtdOptions): Platform => ({
  name,
  description,
  create: (tableMemory) =>
    new VtdIommu({ ...registers, ...(tableMemory === undefined ? {} : { tableMemory }) }),
})

const amd = (name: string, description: string, options: AmdOptions): Platform => ({
  name,
  description,
  create: (tableMemory) =>
    new AmdIommu({ ...options, ...(tableMemory === undefined ? {} : { tableMemory }) }),
})

const smmu = (name: string, description: string, options: SmmuOptions): Platform => ({
  name,
  description,
  create: (tableMemory) =>
    new SmmuIommu({ ...options, ...(tableMemory === undefined ? {} : { tableMemory }) }),
})

const virtio = (name: string, description: string, options: VirtioOptions): Platform => ({
  name,
  description,
  create: (tableMemory) =>
    new VirtioIommu({ ...options, ...(tableMemory === undefined ? {} : { tableMemory }) }),
})

const riscv = (name: string, description: string, options: RiscvOptions): Platform => ({
  name,
  description,
  create: (tableMemory) =>
    new RiscvIommu({ ...options, ...(tableMemory === undefined ? {} : { tableMemory }) }),
})

/** A 48-bit SMMUv3 with everything (made up, consistent in itself). */
const SMMU_48: SmmuOptions = {
  idr: [0x0d4d_749b, 0x0273_9d20, 0, 0x0000_1500, 0, 0x0000_0075],
  iidr: 0x4871_143b,
  aidr: 2,
}

export const platforms: readonly Platform[] = [
  intel('intel-client-39', 'Intel client with 39-bit DMA addresses, legacy mode (observed)', {
    cap: 0x00d2_008c_4066_0462n,
    ecap: 0x0000_0000_00f0_50dan,
  }),
  intel('intel-igd-39', 'unit of an Intel graphics device: 39 bits, no snoop control (observed)', {
    cap: 0x01c0_000c_4066_0462n,
    ecap: 0x0000_019e_2ff0_505en,
  }),
  intel('intel-server-48', 'Intel server, Skylake or Cascade Lake, legacy mode (observed)', {
    cap: 0x08d2_078c_106f_0466n,
    ecap: 0x0000_0000_00f0_20dfn,
  }),
  intel('intel-sm-48', 'Intel in scalable mode, 48 bits, dirty tracking and nesting (observed)', {
    cap: 0x09ed_008c_4078_0466n,
    ecap: 0x0003_ee9e_86f0_50dfn,
  }),
  intel('intel-sm-57', 'Intel in scalable mode, 57 bits, with PASIDs (ecap made up)', {
    cap: 0x19ed_008c_4078_0c66n,
    ecap: 0x0003_ef9e_a6f0_50dfn,
  }),
  intel('intel-qemu-48', "QEMU's Intel IOMMU, 48 bits (observed)", {
    cap: 0x00d2_008c_222f_0686n,
    ecap: 0x0000_0000_00f0_0f5an,
  }),
  amd('amd-client', 'AMD client (observed)', { efr: 0x2465_77ef_a225_4afan, efr2: 0x10n }),
  amd('amd-server', 'AMD server, Genoa: dirty tracking, nest parents (observed)', {
    efr: 0x25bf_732f_a229_5afen,
    efr2: 0x1dn,
    la57: true,
  }),
  smmu('arm-smmuv3-48', 'ARM SMMUv3 with 48-bit addresses, dirty tracking, nesting', SMMU_48),
  smmu('arm-smmuv3-44', 'ARM SMMUv3 with 44-bit physical addresses', {
    ...SMMU_48,
    idr: [0x0d4d_749b, 0x0273_9d20, 0, 0x0000_1500, 0, 0x0000_0074],
  }),
  virtio('virtio-x86', "QEMU's virtio-iommu on an x86 machine", {
    pageSizeMask: EVERY_PAGE_SIZE,
    probed: [x86MsiWindow],
  }),
  virtio('virtio-arm', "QEMU's virtio-iommu on an ARM machine", { pageSizeMask: EVERY_PAGE_SIZE }),
  riscv('riscv-sv57', 'RISC-V, Sv57, as if its DMA counted as coherent', {
    mode: 57,
    asIfCoherent: true,
  }),
  riscv('riscv-sv57-exact', 'RISC-V, Sv57, as Linux 7.2 has it: no device can be given away', {
    mode: 57,
    asIfCoherent: false,
  }),
]

export const platformNamed = (name: string): Platform | undefined =>
  platforms.find((platform) => platform.name === name)

/** What simulated PCI devices stand behind unless another platform is asked for. */
export const DEFAULT_PLATFORM = 'intel-server-48'
