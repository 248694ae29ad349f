/** A client process as the engine sees it. */
import { readFileSync, readlinkSync } from 'node:fs'
import { type ByteLength, byteLength, MAX_U64 } from '../abi/brands.ts'
import type { Capability, Process } from '../engine/ports.ts'
import { HostAddressSpace } from './address-space.ts'
import { openPath, pathAt } from './client-memory.ts'
import { openFlags, RLIMIT_MEMLOCK } from './kernel.ts'
import type { SharedMemory } from './shared-memory.ts'
import type { Sys } from './sys.ts'

const CAPABILITY_BIT: Readonly<Record<Capability, bigint>> = {
  CAP_IPC_LOCK: 1n << 14n,
  CAP_SYS_RAWIO: 1n << 17n,
  CAP_SYS_ADMIN: 1n << 21n,
  CAP_SYS_RESOURCE: 1n << 24n,
}

export class HostProcess implements Process {
  readonly #sys: Sys
  readonly #shared: SharedMemory
  readonly pid: number
  /** O_PATH descriptor of /proc/PID: this process, never another with its ID. */
  readonly #directory: number
  #addressSpace: HostAddressSpace | undefined
  #mayHaveExecuted = false

  constructor(sys: Sys, pid: number, shared: SharedMemory) {
    this.#sys = sys
    this.#shared = shared
    this.pid = pid
    const { PATH, DIRECTORY } = openFlags(sys.arch.name)
    this.#directory = openPath(sys, `/proc/${pid}`, PATH | DIRECTORY)
  }

  alive(): boolean {
    return (
      this.#directory >= 0 &&
      this.#sys.call('faccessat', this.#directory, pathAt(this.#sys, 'stat'), 0) === 0
    )
  }

  close(): void {
    if (this.#directory >= 0) this.#sys.call('close', this.#directory)
  }

  get name(): string {
    return this.#read('comm').trimEnd()
  }

  get uid(): number {
    return Number(this.#status(/^Uid:\t(\d+)/m) ?? 0)
  }

  /** The address space has perhaps been replaced by an execve. */
  executed(): void {
    this.#mayHaveExecuted = true
  }

  get addressSpace(): HostAddressSpace {
    if (this.#mayHaveExecuted) {
      this.#mayHaveExecuted = false
      if (this.#addressSpace?.gone) this.#addressSpace = undefined
    }
    this.#addressSpace ??= new HostAddressSpace(this.#sys, this.pid, this.#shared)
    return this.#addressSpace
  }

  get knownAddressSpace(): HostAddressSpace | undefined {
    return this.#addressSpace
  }

  capable(capability: Capability): boolean {
    if (!inInitialUserNamespace(this.pid)) return false
    const effective = this.#status(/^CapEff:\t([0-9a-f]+)/m)
    return effective !== undefined && (BigInt(`0x${effective}`) & CAPABILITY_BIT[capability]) !== 0n
  }

  memlockLimit(): ByteLength {
    const limits = this.#sys.scratch
    const result = this.#sys.call('prlimit64', this.pid, RLIMIT_MEMLOCK, 0, limits.address)
    if (result === 0) return byteLength(limits.view.getBigUint64(0, true))
    const soft = /^Max locked memory +(\S+)/m.exec(this.#read('limits'))?.[1]
    return byteLength(soft === undefined || soft === 'unlimited' ? MAX_U64 : BigInt(soft))
  }

  lockedBytes(): ByteLength {
    return byteLength(BigInt(this.#status(/^VmLck:\s*(\d+) kB/m) ?? 0) * 1024n)
  }

  #status(pattern: RegExp): string | undefined {
    return pattern.exec(this.#read('status'))?.[1]
  }

  #read(name: string): string {
    try {
      return readFileSync(`/proc/${this.pid}/${name}`, 'latin1')
    } catch {
      return ''
    }
  }
}

/** Inode number of the user namespace that the kernel starts with. */
const INITIAL_USER_NAMESPACE = 'user:[4026531837]'

const inInitialUserNamespace = (pid: number): boolean => {
  try {
    return readlinkSync(`/proc/${pid}/ns/user`) === INITIAL_USER_NAMESPACE
  } catch {
    return false
  }
}
