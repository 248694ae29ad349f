/** The overlay as a tree: synthetic nodes by name, directory by directory. */
import type { DeviceNode as EngineDeviceNode } from '../engine/node.ts'
import { classFiles } from './class-files.ts'
import { faultInjectionFiles } from './fault-files.ts'
import type { HostedSystem, SymbolicLink, SyntheticFile, TextFile } from './hosted-system.ts'

export interface Device {
  readonly kind: 'device'
  readonly device: EngineDeviceNode
  readonly major: number
  readonly minor: number
}

export interface Directory {
  readonly kind: 'directory'
  /** Nothing of a real directory of that name shows through. */
  readonly opaque: boolean
  readonly entries: Map<string, SyntheticNode>
  /** Absolute path, without a slash at the end; empty for the root. */
  readonly path: string
}

export type SyntheticNode = Device | TextFile | SymbolicLink | Directory

/** Major numbers of /dev/vfio/G and of /dev/vfio/devices/vfioX. */
export const VFIO_MAJOR = 243
export const VFIO_DEV_MAJOR = 242

/** Misc devices have major 10; Linux chooses the others when it starts, from 254 downwards. */
const MAJORS: Readonly<Record<EngineDeviceNode['major'], number>> = {
  misc: 10,
  vfio: VFIO_MAJOR,
  'vfio-dev': VFIO_DEV_MAJOR,
}
/** The lowest minor that Linux gives a misc device without a number of its own (01 §2). */
const FIRST_DYNAMIC_MINOR = 256

export class Tree {
  readonly #system: HostedSystem
  readonly #faultFiles = faultInjectionFiles()
  #root: Directory | undefined
  #names = new Set<string>()
  /** A minor once chosen stays with the path. */
  readonly #minors = new Map<string, number>()
  /** What /sys has for each device: the same nodes each time, with the same inodes. */
  readonly #classFiles = new Map<string, readonly SyntheticFile[]>()

  constructor(system: HostedSystem) {
    this.#system = system
  }

  /** What is served may have changed. */
  changed(): void {
    this.#root = undefined
  }

  get root(): Directory {
    this.#root ??= this.#build()
    return this.#root
  }

  /** Whether any node, at whatever place, has this name. */
  hasName(name: string): boolean {
    if (this.#root === undefined) this.#root = this.#build()
    return this.#names.has(name)
  }

  /** All directories, the root included. */
  directories(): Generator<Directory> {
    return this.#below(this.root)
  }

  *#below(directory: Directory): Generator<Directory> {
    yield directory
    for (const node of directory.entries.values())
      if (node.kind === 'directory') yield* this.#below(node)
  }

  #build(): Directory {
    const faultFiles = this.#system.faults === undefined ? undefined : this.#faultFiles
    const opaque = new Set([
      ...(this.#system.opaqueDirectories ?? []),
      ...(faultFiles?.opaqueDirectories ?? []),
    ])
    this.#names = new Set()
    const root: Directory = { kind: 'directory', opaque: false, entries: new Map(), path: '' }
    const directory = (parent: Directory, name: string): Directory => {
      const known = parent.entries.get(name)
      if (known?.kind === 'directory') return known
      const path = `${parent.path}/${name}`
      const made: Directory = {
        kind: 'directory',
        opaque: parent.opaque || opaque.has(path),
        entries: new Map(),
        path,
      }
      parent.entries.set(name, made)
      this.#names.add(name)
      return made
    }
    const add = (path: string, node: SyntheticNode): void => {
      const names = path.split('/').filter((name) => name !== '')
      const last = names.pop()
      if (last === undefined) throw new RangeError(`${path} names no file`)
      names.reduce(directory, root).entries.set(last, node)
      this.#names.add(last)
    }
    for (const path of opaque) path.split('/').slice(1).reduce(directory, root)
    const devices = this.#system.nodes().map(
      (device): Device => ({
        kind: 'device',
        device,
        major: MAJORS[device.major],
        minor: device.minor ?? this.#minor(device.path),
      }),
    )
    for (const device of devices) add(device.device.path, device)
    for (const { path, node } of faultFiles?.files ?? []) add(path, node)
    const files = this.#system.files?.() ?? []
    for (const { path, node } of files) add(path, node)
    for (const device of devices)
      for (const { path, node } of this.#classFilesOf(device, files)) add(path, node)
    return root
  }

  #classFilesOf(device: Device, files: readonly SyntheticFile[]): readonly SyntheticFile[] {
    const key = `${device.device.path} ${device.minor}`
    const known = this.#classFiles.get(key)
    if (known !== undefined) return known
    const made = classFiles(device, (entry) => files.some(({ path }) => path === entry))
    this.#classFiles.set(key, made)
    return made
  }

  #minor(path: string): number {
    const known = this.#minors.get(path)
    if (known !== undefined) return known
    const minor = FIRST_DYNAMIC_MINOR + this.#minors.size
    this.#minors.set(path, minor)
    return minor
  }
}
