/** A simulated process: descriptors, memory, privileges; executes the lines of a script. */
import {
  type ByteLength,
  byteLength,
  type Fd,
  fd,
  type UserVa,
  userVa,
} from '../../src/abi/brands.ts'
import { Errno } from '../../src/abi/errno.ts'
import { FaultInjector } from '../../src/engine/fault-injection.ts'
import type { MmapRegion, OpenFile, OpenMode } from '../../src/engine/file.ts'
import type { Machine } from '../../src/engine/machine.ts'
import type { Call, Capability, Process } from '../../src/engine/ports.ts'
import { Refusal, type Result } from '../../src/engine/reason.ts'
import { slotFd } from '../places.ts'
import { Description, foreignFile, MemoryFile } from './simulated-files.ts'
import {
  anonymous,
  Memory,
  PAGE_BYTES,
  SimulatedMemory,
  share,
  sharedMemory,
} from './simulated-memory.ts'

/** Bits of capabilities that matter here. */
const capabilityBits: ReadonlyMap<number, Capability> = new Map([
  [14, 'CAP_IPC_LOCK'],
  [17, 'CAP_SYS_RAWIO'],
  [21, 'CAP_SYS_ADMIN'],
  [24, 'CAP_SYS_RESOURCE'],
])

const HUGE_CONTIGUITY = 512
const UNLIMITED = byteLength(0xffff_ffff_ffff_ffffn)
const openModes: readonly OpenMode[] = ['read', 'write', 'read-write']

interface FileMapping {
  readonly file: OpenFile
  readonly region: MmapRegion
  readonly first: number
  readonly count: number
}

let lastPid = 1000

export class SimulatedProcess implements Process {
  readonly pid: number
  readonly name = 'conformance'
  readonly uid = 0
  readonly addressSpace: SimulatedMemory
  /** Armed by tests of what injected failures leave behind. */
  readonly faults = new FaultInjector()
  readonly #machine: Machine
  readonly #descriptors = new Map<number, Description>()
  readonly #capabilities: Set<Capability>
  #fileMappings: FileMapping[] = []
  #memlock: ByteLength
  #lastReturn = 0

  constructor(machine: Machine, parent?: SimulatedProcess) {
    lastPid += 1
    this.pid = lastPid
    this.#machine = machine
    this.addressSpace = parent?.addressSpace.fork() ?? new SimulatedMemory()
    this.#capabilities = new Set(
      parent === undefined ? capabilityBits.values() : parent.#capabilities,
    )
    this.#memlock = parent === undefined ? UNLIMITED : parent.#memlock
    if (parent === undefined) {
      const input = new Description(foreignFile('standard input'), 'read-write')
      for (const number of [0, 1, 2]) this.place(number, input)
      return
    }
    for (const [number, description] of parent.#descriptors)
      this.#descriptors.set(number, description.hold())
    for (const mapping of parent.#fileMappings) this.#addFileMapping(mapping)
  }

  capable(capability: Capability): boolean {
    return this.#capabilities.has(capability)
  }

  memlockLimit(): ByteLength {
    return this.#memlock
  }

  lockedBytes(): ByteLength {
    return byteLength(0n)
  }

  /** Closes and unmaps everything. */
  exit(): void {
    this.addressSpace.gone = true
    for (const mapping of [...this.#fileMappings]) this.#removeFileMapping(mapping)
    for (const description of this.#descriptors.values()) description.drop()
    this.#descriptors.clear()
  }

  /** Executes one line; the answer to print, if it prints one. */
  execute(line: string): string | undefined {
    const [name = '', ...words] = line.split(' ')
    const command = commands[name]
    if (command === undefined) throw new Error(`unknown command: ${line}`)
    const answer = command(this, words)
    return typeof answer === 'number' || typeof answer === 'bigint' ? `= ${answer}` : answer
  }

  // ---- what the commands are made of ----

  description(slot: string | undefined): Description | undefined {
    return this.#descriptors.get(slotFd(Number(slot)))
  }

  place(number: number, description: Description): void {
    const old = this.#descriptors.get(number)
    this.#descriptors.set(number, description.hold())
    old?.drop()
  }

  close(number: number): number {
    const description = this.#descriptors.get(number)
    if (description === undefined) return -Errno.EBADF
    this.#descriptors.delete(number)
    description.drop()
    return 0
  }

  move(from: number, to: number): number {
    const description = this.#descriptors.get(from)
    if (description === undefined) return -Errno.EBADF
    if (from === to) return 0
    this.place(to, description)
    return this.close(from)
  }

  open(slot: string | undefined, path: string, flags: number): number {
    const mode = openModes[flags & 3] ?? 'read-write'
    const file = this.#fileAt(path, mode)
    if (file === undefined) return -Errno.ENOENT
    if (file instanceof Refusal) return -file.errno
    this.place(slotFd(Number(slot)), new Description(file, mode))
    return 0
  }

  #fileAt(path: string, mode: OpenMode) {
    const node = this.#machine.node(path)
    if (node !== undefined) return node.open(this, mode)
    return path === '/dev/null' ? foreignFile(path) : undefined
  }

  ioctl(slot: string | undefined, request: number, argument: UserVa): number {
    const file = this.description(slot)
    const answer = file?.ours?.ioctl?.(this.call(), request, argument)
    if (file === undefined) this.#lastReturn = -Errno.EBADF
    else this.#lastReturn = answer === undefined ? -Errno.ENOTTY : outcome(answer)
    return this.#lastReturn
  }

  get lastReturn(): number {
    return this.#lastReturn
  }

  call(): Call {
    return {
      process: this,
      tid: this.pid,
      memory: this.addressSpace,
      file: (number) => {
        const description = this.#descriptors.get(number)
        return description?.ours ?? description?.foreign
      },
      install: (file) => this.#install(file),
      fails: (step) => this.faults.fails(this.pid, step),
    }
  }

  #install(file: OpenFile): Fd {
    let number = 0
    while (this.#descriptors.has(number)) number += 1
    this.place(number, new Description(file, file.mode))
    return fd(number)
  }

  mapFile(address: bigint, length: bigint, words: readonly string[]): number {
    const [protection = '', kind, slot, offset] = words
    const description = this.description(slot)
    if (description === undefined) return -Errno.EBADF
    const first = Number(address >> 12n)
    const count = Number((length + 0xfffn) >> 12n)
    const isPrivate = kind === 'private'
    if (description.foreign instanceof MemoryFile) {
      const { memory } = description.foreign
      this.addressSpace.map(
        first,
        count,
        protection,
        memory,
        Number(offset) / PAGE_BYTES,
        isPrivate,
      )
      return 0
    }
    return this.#mapOurs(description, { first, count, length, protection, isPrivate, offset })
  }

  #mapOurs(
    description: Description,
    wanted: {
      first: number
      count: number
      length: bigint
      protection: string
      isPrivate: boolean
      offset: string | undefined
    },
  ): number {
    const { protection, isPrivate } = wanted
    const offset = BigInt(wanted.offset ?? 0)
    if (wanted.length === 0n || offset % 4096n !== 0n) return -Errno.EINVAL
    const writes = protection.includes('w') && !isPrivate
    if (!description.mayRead || (writes && !description.mayWrite)) return -Errno.EACCES
    const file = description.ours
    if (file?.mmap === undefined) return -Errno.ENODEV
    const region = file.mmap(this.call(), {
      length: byteLength(wanted.length),
      prot: protectionBits(protection),
      // A shared mapping of a file not open for writing is not quite shared (01 §21.2).
      flags: isPrivate || !description.mayWrite ? 2 : 1,
      offset: offset as MmapRegion['offset'],
    })
    if (region instanceof Refusal) return -region.errno
    const { first, count } = wanted
    this.addressSpace.map(first, count, protection, share(new RegionMemory(region)), 0)
    this.#addFileMapping({ file, region, first, count })
    return 0
  }

  unmap(address: bigint, length: bigint): number {
    const first = Number(address >> 12n)
    const count = Number((length + 0xfffn) >> 12n)
    this.addressSpace.unmap(first, count)
    for (const mapping of [...this.#fileMappings]) this.#cutFileMapping(mapping, first, count)
    return 0
  }

  #cutFileMapping(mapping: FileMapping, first: number, count: number): void {
    const end = mapping.first + mapping.count
    const [from, to] = [Math.max(first, mapping.first), Math.min(first + count, end)]
    if (from >= to) return
    if (mapping.first < from) this.#addFileMapping({ ...mapping, count: from - mapping.first })
    if (to < end) this.#addFileMapping({ ...mapping, first: to, count: end - to })
    this.#removeFileMapping(mapping)
  }

  #addFileMapping(mapping: FileMapping): void {
    this.#fileMappings.push(mapping)
    countMappings(mapping, 1)
  }

  #removeFileMapping(mapping: FileMapping): void {
    this.#fileMappings = this.#fileMappings.filter((other) => other !== mapping)
    countMappings(mapping, -1)
  }

  setMemlock(limit: bigint): number {
    this.#memlock = byteLength(limit)
    return 0
  }

  dropCapability(bit: number): number {
    const capability = capabilityBits.get(bit)
    if (capability !== undefined) this.#capabilities.delete(capability)
    return 0
  }

  locked(): string {
    const { pinned, locked } = this.#machine.lockedMemory.ofSpace(this.addressSpace)
    return `= pinned ${pinned * 4} locked ${locked * 4}`
  }
}

/** How many VMAs of all processes map a region of a file. */
const mappingCounts = new WeakMap<OpenFile, Map<bigint, number>>()

const countMappings = ({ file, region }: FileMapping, change: number): void => {
  const counts = mappingCounts.get(file) ?? new Map<bigint, number>()
  mappingCounts.set(file, counts)
  const count = (counts.get(region.offset) ?? 0) + change
  counts.set(region.offset, count)
  file.mappingsOf?.(region.offset, count)
}

/** Pages of a region that the engine published. */
class RegionMemory extends Memory {
  readonly #region: MmapRegion
  constructor(region: MmapRegion) {
    super('device region')
    this.#region = region
  }
  override page(number: number): Uint8Array {
    const bytes = new Uint8Array(PAGE_BYTES)
    this.#region.memory.read(number * PAGE_BYTES, bytes)
    return bytes
  }
  override write(page: number, offset: number, bytes: Uint8Array): boolean {
    this.#region.memory.write(page * PAGE_BYTES + offset, bytes)
    return true
  }
}

const protectionBits = (protection: string): number =>
  (protection.includes('r') ? 1 : 0) |
  (protection.includes('w') ? 2 : 0) |
  (protection.includes('x') ? 4 : 0)

const outcome = (result: Result<number>): number =>
  result instanceof Refusal ? -result.errno : result

type ScriptCommand = (
  process: SimulatedProcess,
  words: readonly string[],
) => string | number | bigint | undefined

const pages = (words: readonly string[]): [first: number, count: number] => [
  Number(BigInt(words[0] ?? 0) >> 12n),
  Number((BigInt(words[1] ?? 0) + 0xfffn) >> 12n),
]

const at = (word: string | undefined): UserVa => userVa(BigInt(word ?? 0))

type Transfer = 'read' | 'write' | 'pread' | 'pwrite'

const transfer =
  (operation: Transfer): ScriptCommand =>
  (process, [slot, address, length, offset]) => {
    const file = process.description(slot)
    const reads = operation === 'read' || operation === 'pread'
    if (file === undefined || !(reads ? file.mayRead : file.mayWrite)) return -Errno.EBADF
    const count = Number(length)
    const call = process.call()
    const answer =
      operation === 'read' || operation === 'write'
        ? file.ours?.[operation]?.(call, at(address), count)
        : file.ours?.[operation]?.(
            call,
            at(address),
            count,
            BigInt(offset ?? 0) as MmapRegion['offset'],
          )
    return answer === undefined ? -Errno.EINVAL : outcome(answer)
  }

const commands: Readonly<Record<string, ScriptCommand>> = {
  open: (process, [slot, path = '', flags]) => process.open(slot, path, Number(flags)),
  close: (process, [slot]) => process.close(slotFd(Number(slot))),
  dup: (process, [slot, to]) => {
    const description = process.description(slot)
    if (description === undefined) return -Errno.EBADF
    process.place(slotFd(Number(to)), description)
    return 0
  },
  ioctl: (process, [slot, request, argument]) => process.ioctl(slot, Number(request), at(argument)),
  takefd: (process, [slot, address]) => {
    const word = process.addressSpace.read(at(address), 4)
    const number = new DataView(word.buffer, word.byteOffset).getInt32(0, true)
    const to = slotFd(Number(slot))
    const answer = process.move(number, to)
    if (answer === 0)
      process.addressSpace.write(at(address), new Uint8Array(Int32Array.of(to).buffer))
    return answer
  },
  takereturn: (process, [slot]) => process.move(process.lastReturn, slotFd(Number(slot))),
  poke: (process, [address, hex = '']) => {
    process.addressSpace.write(at(address), new Uint8Array(Buffer.from(hex, 'hex')))
    return undefined
  },
  fill: (process, [address, length, byte]) => {
    process.addressSpace.write(at(address), new Uint8Array(Number(length)).fill(Number(byte)))
    return undefined
  },
  peek: (process, [address, length]) =>
    `: ${Buffer.from(process.addressSpace.read(at(address), Number(length))).toString('hex')}`,
  mmap: (process, [address, length, protection = '', kind]) => {
    const object =
      kind === 'shared'
        ? sharedMemory('shared anonymous memory')
        : anonymous(kind === 'huge' ? HUGE_CONTIGUITY : 1)
    process.unmap(BigInt(address ?? 0), BigInt(length ?? 0))
    process.addressSpace.map(...pages([address ?? '0', length ?? '0']), protection, object, 0)
    return 0
  },
  mapfd: (process, [address, length, ...rest]) =>
    process.mapFile(BigInt(address ?? 0), BigInt(length ?? 0), rest),
  munmap: (process, [address, length]) => process.unmap(BigInt(address ?? 0), BigInt(length ?? 0)),
  mprotect: (process, [address, length, protection = '']) =>
    process.addressSpace.protect(...pages([address ?? '0', length ?? '0']), protection)
      ? 0
      : -Errno.ENOMEM,
  discard: (process, words) => {
    process.addressSpace.discard(...pages(words))
    return 0
  },
  memfd: (process, [slot, size]) => {
    process.place(slotFd(Number(slot)), new Description(new MemoryFile(Number(size)), 'read-write'))
    return 0
  },
  ftruncate: (process, [slot, size]) => {
    const file = process.description(slot)?.foreign
    if (!(file instanceof MemoryFile)) return -Errno.EINVAL
    file.size = Number(size)
    file.memory.truncate(Math.ceil(file.size / PAGE_BYTES))
    return 0
  },
  blocks: (process, [slot]) => {
    const file = process.description(slot)?.foreign
    return file instanceof MemoryFile ? file.memory.presentPages * 8 : 0
  },
  read: transfer('read'),
  write: transfer('write'),
  pread: transfer('pread'),
  pwrite: transfer('pwrite'),
  lseek: () => -Errno.ESPIPE,
  fsync: () => -Errno.EINVAL,
  poll: (process, [slot, events]) => {
    const file = process.description(slot)
    return file === undefined ? 0x20 : file.ready() & Number(events)
  },
  epoll: (process, [slot]) =>
    process.description(slot)?.ours?.poll === undefined ? -Errno.EPERM : 0,
  fstat: (process, [slot]) =>
    process.description(slot)?.ours?.isDevice ? '= character major 10' : '= other major 0',
  rlimit: (process, [limit]) => process.setMemlock(BigInt(limit ?? 0)),
  dropcap: (process, [bit]) => process.dropCapability(Number(bit)),
  locked: (process) => process.locked(),
}
