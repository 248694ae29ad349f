/** Processes, IOASes, domains and accesses without ioctls: for what only an in-process test can show. */
import { expect } from 'vitest'
import {
  anonymous,
  type Memory,
  SimulatedMemory,
} from '../../../conformance/doors/simulated-memory.ts'
import { type ByteLength, byteLength, type Iova, iova, userVa } from '../../../src/abi/brands.ts'
import { errnoName } from '../../../src/abi/errno.ts'
import { Access } from '../../../src/engine/access.ts'
import type { Context } from '../../../src/engine/context.ts'
import { type DomainLink, Ioas } from '../../../src/engine/ioas.ts'
import { Machine, type MachineOptions } from '../../../src/engine/machine.ts'
import type { Caller } from '../../../src/engine/objects.ts'
import type { Capability, Process } from '../../../src/engine/ports.ts'
import { Refusal, type Result } from '../../../src/engine/reason.ts'
import { PageDomain } from './page-domain.ts'

/** `B` of the worked examples. */
export const B = 0x7f00_0000_0000n
const P = 4096n

export class TestProcess implements Process {
  readonly pid: number
  readonly name = 'test'
  readonly uid: number
  readonly addressSpace: SimulatedMemory
  memlock = 0xffff_ffff_ffff_ffffn
  mlocked = 0n
  readonly capabilities = new Set<Capability>()

  constructor(pid: number, uid = 1000, memory = new SimulatedMemory()) {
    this.pid = pid
    this.uid = uid
    this.addressSpace = memory
  }

  capable(capability: Capability): boolean {
    return this.capabilities.has(capability)
  }
  memlockLimit(): ByteLength {
    return byteLength(this.memlock)
  }
  lockedBytes(): ByteLength {
    return byteLength(this.mlocked)
  }

  get caller(): Caller {
    return { process: this, fails: () => false }
  }

  /** mmap of anonymous memory over whatever is there; returns the object behind it. */
  mmap(address: bigint, length: bigint, object: Memory = anonymous(), protection = 'rw'): Memory {
    this.addressSpace.map(Number(address / P), Number(length / P), protection, object, 0)
    return object
  }

  munmap(address: bigint, length: bigint): void {
    this.addressSpace.unmap(Number(address / P), Number(length / P))
  }

  exit(): void {
    this.addressSpace.gone = true
  }

  fill(address: bigint, byte: number, length: number): void {
    const written = this.addressSpace.write(userVa(address), new Uint8Array(length).fill(byte))
    expect(written).toBe(length)
  }
}

export const must = <T>(result: Result<T>): T => {
  if (result instanceof Refusal) throw new Error(`refused: ${result.code}: ${result.say()}`)
  return result
}

/** The errno's name, or `ok`. */
export const outcome = (result: Result<unknown>): string =>
  result instanceof Refusal ? errnoName(result.errno) : 'ok'

/** Link and page table in one. */
export class Link implements DomainLink {
  readonly domain: PageDomain
  constructor(domain = new PageDomain(0x1000n)) {
    this.domain = domain
  }
}

export class IoasWorld {
  readonly machine: Machine
  readonly process = new TestProcess(1)
  readonly context: Context

  constructor(options: MachineOptions = {}) {
    this.machine = new Machine(options)
    this.context = this.machine.open('/dev/iommu', this.process)
    this.process.mmap(B, 0x20_0000n)
  }

  ioas(): Ioas {
    const ioas = new Ioas(this.context, must(this.context.objects.reserve()))
    this.context.objects.publish(ioas)
    return ioas
  }

  map(
    ioas: Ioas,
    at: bigint,
    va: bigint,
    length: bigint,
    options: { process?: TestProcess; readable?: boolean; writable?: boolean } = {},
  ): Result<Iova> {
    return ioas.map((options.process ?? this.process).caller, {
      va: userVa(va),
      length: byteLength(length),
      iova: iova(at),
      readable: options.readable ?? true,
      writable: options.writable ?? true,
    })
  }

  unmap(ioas: Ioas, at: bigint, length: bigint): string {
    const { refusal } = ioas.unmap({ start: iova(at), last: iova(at + length - 1n) })
    return refusal === undefined ? 'ok' : outcome(refusal)
  }

  join(ioas: Ioas, link = new Link()): Link {
    must(ioas.addDomain(this.process.caller, link))
    return link
  }

  /** An access that pins, attached; `unmap` is its callback. */
  access(ioas: Ioas, unmap?: (access: Access, iova: Iova, length: ByteLength) => void): Access {
    const access: Access = must(
      Access.create(this.context, {
        name: 'test access',
        pins: true,
        unmap: (start, length) => unmap?.(access, start, length),
      }),
    )
    must(access.attachTo(ioas))
    return access
  }

  /** What a device reads through a page table: one byte. */
  dmaRead({ domain }: Link, at: bigint): number | undefined {
    const phys = domain.iovaToPhys(iova(at))
    const byte = new Uint8Array(1)
    return phys !== undefined && this.machine.memory.read(phys, byte) ? byte[0] : undefined
  }
}
