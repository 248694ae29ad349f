/** Every ioctl, by the file it works on, and look-up by number and by name. */

import type { FileKind, Ioctl } from './ioctl.ts'
import * as context from './iommufd/context.ts'
import * as ioas from './iommufd/ioas.ts'
import type { Struct } from './layout.ts'
import * as container from './vfio/container.ts'

const inOrder = (ioctls: readonly Ioctl[]): readonly Ioctl[] =>
  [...ioctls].sort((a, b) => a.request - b.request)

const isIoctl = (value: unknown): value is Ioctl =>
  typeof value === 'object' && value !== null && 'request' in value && 'argument' in value

const isStruct = (value: unknown): value is Struct =>
  typeof value === 'object' && value !== null && 'fields' in value && 'decode' in value

const declared: readonly unknown[] = [context, ioas, container].flatMap((module) =>
  Object.values<unknown>({ ...module }),
)

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

/** Every structure of the interface, by name. */
export const structs: ReadonlyMap<string, Struct> = new Map(
  declared.filter(isStruct).map((struct) => [struct.name, struct]),
)

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
