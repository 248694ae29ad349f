/** Every ioctl, by the file it works on, and look-up by number and by name. */

import type { FileKind, Ioctl } from './ioctl.ts'
import * as context from './iommufd/context.ts'
import * as events from './iommufd/events.ts'
import * as hwInfo from './iommufd/hw-info.ts'
import * as hwpt from './iommufd/hwpt.ts'
import * as ioas from './iommufd/ioas.ts'
import * as viommu from './iommufd/viommu.ts'
import type { Struct } from './layout.ts'
import * as selftestData from './selftest-data.ts'
import * as selftestTypes from './selftest-types.ts'
import * as testCmd from './test-cmd.ts'
import * as capability from './vfio/capability.ts'
import * as container from './vfio/container.ts'
import * as device from './vfio/device.ts'
import * as features from './vfio/features.ts'
import * as group from './vfio/group.ts'
import * as irq from './vfio/irq.ts'
import * as migration from './vfio/migration.ts'
import * as pci from './vfio/pci.ts'
import * as region from './vfio/region.ts'

const inOrder = (ioctls: readonly Ioctl[]): readonly Ioctl[] =>
  [...ioctls].sort((a, b) => a.request - b.request)

const isIoctl = (value: unknown): value is Ioctl =>
  typeof value === 'object' && value !== null && 'request' in value && 'argument' in value

const isStruct = (value: unknown): value is Struct =>
  typeof value === 'object' && value !== null && 'fields' in value && 'decode' in value

/** What the public headers declare, and what only the test interface has. */
const published = [
  context,
  ioas,
  hwpt,
  hwInfo,
  events,
  viommu,
  capability,
  container,
  group,
  device,
  region,
  irq,
  pci,
  features,
  migration,
]
const ofTests = [testCmd, selftestTypes, selftestData]

const members = (modules: readonly object[]): readonly (readonly [string, unknown])[] =>
  modules.flatMap((module) => Object.entries<unknown>({ ...module }))

const declared = members([...published, ...ofTests]).map(([, value]) => value)

const ioctls = declared.filter(isIoctl)

const ofFile = (file: FileKind): readonly Ioctl[] =>
  inOrder(ioctls.filter((ioctl) => ioctl.file === file))

/** 0x3b80 and up. */
export const iommufdCommands = ofFile('iommufd')
export const containerIoctls = ofFile('container')
export const groupIoctls = ofFile('group')
export const deviceIoctls = ofFile('device')
/** Of the file that a device's migration data is read from and written to. */
export const migrationIoctls = ofFile('migration')

/** Every structure of the interface, by name; those of the test operations as `iommu_test_cmd.dirty`. */
export const structs: ReadonlyMap<string, Struct> = new Map(
  [
    ...declared.filter(isStruct),
    ...testCmd.testOperations.map((operation) => operation.struct),
  ].map((struct) => [struct.name, struct]),
)

const isNumber = (entry: [string, unknown]): entry is [string, number] =>
  typeof entry[1] === 'number'

/** Exported numbers, and the members of exported sets of numbers. */
const numbersOf = (modules: readonly object[]): ReadonlyMap<string, number> =>
  new Map(
    members(modules).flatMap(([name, value]): [string, number][] => {
      if (typeof value === 'number') return [[name, value]]
      if (typeof value !== 'object' || value === null) return []
      const entries = Object.entries<unknown>({ ...value })
      return entries.every(isNumber) ? entries : []
    }),
  )

/** Every flag and constant of the public headers by its name. */
export const constants = numbersOf(published)
/** The test interface's, which no public header has. */
export const testConstants = numbersOf(ofTests)

const tables: Readonly<Record<FileKind, ReadonlyMap<number, Ioctl>>> = {
  iommufd: new Map([...containerIoctls, ...iommufdCommands].map((ioctl) => [ioctl.request, ioctl])),
  container: new Map(containerIoctls.map((ioctl) => [ioctl.request, ioctl])),
  group: new Map(groupIoctls.map((ioctl) => [ioctl.request, ioctl])),
  device: new Map(deviceIoctls.map((ioctl) => [ioctl.request, ioctl])),
  migration: new Map(migrationIoctls.map((ioctl) => [ioctl.request, ioctl])),
}

/** What a request number means on a file; on an iommufd the container's are known too (01 §2). */
export const ioctlOn = (file: FileKind, request: number): Ioctl | undefined =>
  tables[file].get(request)

const byName = new Map(ioctls.map((ioctl) => [ioctl.name, ioctl]))

export const ioctlNamed = (name: string): Ioctl | undefined => byName.get(name)
