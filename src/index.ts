/**
 * iommufd as a library: contexts, I/O address spaces, mappings, in this process, on any system.
 *
 *     import { Iommufd } from 'iommufd-user'
 *
 * The same engine that answers programs under `iommufd-user run`.
 */

export { type ByteLength, type Iova, iova, type ObjectId, type UserVa } from './abi/brands.ts'
export type { DeviceFactory, DeviceModule, DeviceRequest } from './devices/device-module.ts'
export { MappedRegisters } from './devices/mapped-registers.ts'
export type { EngineEvent } from './engine/events.ts'
export type { SharedRegion } from './engine/file.ts'
export type { AreaView, IovaRange } from './engine/ioas.ts'
export type { ContextNode } from './engine/machine.ts'
export type { ReasonKind, Refusal } from './engine/reason.ts'
export {
  type CopyOptions,
  Ioas,
  type MapOptions,
  type Permissions,
  type UsableRanges,
} from './library/ioas.ts'
export { Iommufd, type OpenOptions } from './library/iommufd.ts'
export { IommufdError } from './library/iommufd-error.ts'
export { type Buffer, ProgramMemory } from './library/program-memory.ts'
export {
  type ArraysOf,
  type Attempt,
  SimulatedFile,
  type StructIoctl,
} from './library/simulated-file.ts'
export {
  type EventListener,
  type MachineOptions,
  SimulatedMachine,
} from './library/simulated-machine.ts'
export * as uapi from './library/uapi.ts'
export type {
  AccessWidth,
  Bar,
  MsixTable,
  PciCapability,
  PciDma,
  PciIdentity,
  PciModel,
  PciServices,
} from './vfio/pci/pci-model.ts'
