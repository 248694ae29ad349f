/** A client process as the engine sees it. */
import { readFileSync, readlinkSync } from 'node:fs'
import { type ByteLength, byteLength, MAX_U64 } from '../abi/brands.ts'
import type { Capability, Process } from '../engine/ports.ts'
import { HostAddressSpace } from './address-space.ts'
import { openPath, pathAt } from './client-memory.ts'
import { openFlags, RLIMIT_MEMLOCK } from './kernel.ts'
import type { SharedMemory } from './shared-memory.ts'
import type { Sys } from './sys.ts'

/** All are below 32: the first word of a set. */
const CAPABILITY_BIT: Readonly<Record<Capability, number>> = {
  CAP_IPC_LOCK: 1 << 14,
  CAP_SYS_RAWIO: 1 << 17,
  CAP_SYS_ADMIN: 1 << 21,
  CAP_SYS_RESOURCE: 1 << 24,
}

/** Version of the structures that capget takes: header and two words of each set. */
const CAPABILITY_VERSION = 0x2008_0522
const CAPABILITY_DATA = 16

/** Who a process is, to the extent that it matters here. */
interface Credentials {
  readonly uid: number
  readonly effectiveUid: number
  /** The first 32, effective. */
  readonly capabilities: number
  readonly isInOurUserNamespace: boolean
}

export class HostProcess implements Process {
  readonly #sys: Sys
  readonly #shared: SharedMemory
  readonly pid: number
  /** O_PATH descriptor of /proc/PID: this process, never another with its ID. */
  readonly #directory: number
  #addressSpace: HostAddressSpace | undefined
  #mayHaveExecuted = false
  /**
   * Asked at every mapping, and each answer takes the kernel long: so they are remembered until the
   * process makes a call that can change them. While such a call is under way they are not.
   */
  #credentials: Credentials | undefined
  /** Threads that were last seen in such a call. */
  readonly #changing = new Set<number>()
  #name: string | undefined
  /** Capabilities that it no longer counts as having. */
  #givenUp = 0

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
    this.#addressSpace?.close()
    if (this.#directory >= 0) this.#sys.call('close', this.#directory)
  }

  /** For people: as it was when first asked for, until the process executes another program. */
  get name(): string {
    this.#name ??= this.#read('comm').trimEnd()
    return this.#name
  }

  /** Thread `tid` is about to set its user or its capabilities, to enter another user namespace, or to execute. */
  credentialsChange(tid: number): void {
    this.#credentials = undefined
    this.#changing.add(tid)
  }

  /** Thread `tid` makes another call. */
  calls(tid: number): void {
    if (this.#changing.size > 0) this.#changing.delete(tid)
  }

  get #known(): Credentials {
    const known = this.#credentials ?? this.#readCredentials()
    if (this.#changing.size === 0) this.#credentials = known
    return known
  }

  #readCredentials(): Credentials {
    const [real, effective] = /^Uid:\t(\d+)\t(\d+)/m.exec(this.#read('status'))?.slice(1) ?? []
    return {
      uid: Number(real ?? 0),
      effectiveUid: Number(effective ?? -1),
      capabilities: this.#effectiveCapabilities(),
      isInOurUserNamespace: this.#inOurUserNamespace(),
    }
  }

  get uid(): number {
    return this.#known.uid
  }

  /** The address space has perhaps been replaced by an execve. */
  executed(): void {
    this.#mayHaveExecuted = true
    this.#name = undefined
  }

  get addressSpace(): HostAddressSpace {
    if (this.#mayHaveExecuted) {
      this.#mayHaveExecuted = false
      if (this.#addressSpace?.gone) this.#addressSpace = undefined
      else this.#addressSpace?.notEnded()
    }
    this.#addressSpace ??= new HostAddressSpace(this.#sys, this.pid, this.#shared)
    return this.#addressSpace
  }

  /** The one it has now; undefined while that is not certain. */
  get certainAddressSpace(): HostAddressSpace | undefined {
    return this.#mayHaveExecuted ? undefined : this.#addressSpace
  }

  get knownAddressSpace(): HostAddressSpace | undefined {
    return this.#addressSpace
  }

  /**
   * Root is root on the simulated machine, also where a container's runtime has taken the capability from
   * everybody: then a process whose effective user is root counts as having it, until it gives it up.
   * In a user namespace that the program makes, nobody has any (01 §17.3).
   */
  capable(capability: Capability): boolean {
    const bit = CAPABILITY_BIT[capability]
    const { isInOurUserNamespace, capabilities, effectiveUid } = this.#known
    if (!isInOurUserNamespace) return false
    if ((capabilities & bit) !== 0) return true
    return (withheld() & bit) !== 0 && (this.#givenUp & bit) === 0 && effectiveUid === 0
  }

  /**
   * It calls capset with this effective set (the first 32). A call that takes nothing away that it has
   * gives up what it only counts as having: CAP_IPC_LOCK, the one whose lack a program can want.
   */
  setsCapabilities(effective: number): void {
    if ((this.#effectiveCapabilities() & ~effective) === 0)
      this.#givenUp |= CAPABILITY_BIT.CAP_IPC_LOCK
  }

  /** The first 32. */
  #effectiveCapabilities(): number {
    const { address, view } = this.#sys.scratch
    view.setUint32(0, CAPABILITY_VERSION, true)
    view.setInt32(4, this.pid, true)
    const result = this.#sys.call('capget', address, address + CAPABILITY_DATA)
    return result === 0 ? view.getUint32(CAPABILITY_DATA, true) : 0
  }

  /** The namespace that we are in stands for the machine's initial one. */
  #inOurUserNamespace(): boolean {
    const { address, bytes } = this.#sys.scratch
    const path = pathAt(this.#sys, 'ns/user')
    const length = this.#sys.call('readlinkat', this.#directory, path, address, bytes.length)
    const ours = ourUserNamespace()
    return length === ours.length && ours.every((byte, i) => bytes[i] === byte)
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

const once = <T>(make: () => T): (() => T) => {
  let value: T | undefined
  return () => {
    value ??= make()
    return value
  }
}

const ourUserNamespace = once(() => new TextEncoder().encode(readlinkSync('/proc/self/ns/user')))

/** Of the first 32 capabilities, those that nobody who runs under us can have. */
const withheld = once(() => {
  const status = readFileSync('/proc/self/status', 'latin1')
  const bounding = BigInt(`0x${/^CapBnd:\t([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`)
  return ~Number(bounding & 0xffff_ffffn)
})
