/** A program with endless memory of which nothing exists: what the engine does alone is measured. */
import { byteLength, type UserVa, userVa } from '../src/abi/brands.ts'
import type { AddressSpace, Call, PageObject, PageRun, Process } from '../src/engine/ports.ts'

/** Bytes that are really there, for the structures of ioctls. */
const SCRATCH = 4096
const SCRATCH_AT = 0x10_0000

const memoryObject: PageObject = {
  name: 'memory of the benchmark',
  contiguity: 1,
  read: () => true,
  write: () => true,
}

class EndlessMemory implements AddressSpace {
  readonly id = 1
  readonly gone = false
  readonly scratch = new Uint8Array(SCRATCH)

  read(address: UserVa, length: number): Uint8Array {
    const at = Number(address) - SCRATCH_AT
    return this.scratch.subarray(at, at + length)
  }
  write(address: UserVa, bytes: Uint8Array): number {
    this.scratch.set(bytes, Number(address) - SCRATCH_AT)
    return bytes.length
  }
  take(firstPage: number, count: number): PageRun[] {
    return [{ object: memoryObject, page: firstPage, count }]
  }
}

export interface SimulatedProgram {
  readonly process: Process
  readonly call: Call
  /** Where structures are put, and their address. */
  readonly scratch: Uint8Array
  readonly scratchAddress: UserVa
}

export const simulatedProgram = (): SimulatedProgram => {
  const memory = new EndlessMemory()
  const process: Process = {
    pid: 1,
    name: 'benchmark',
    uid: 1000,
    addressSpace: memory,
    capable: () => false,
    memlockLimit: () => byteLength(0xffff_ffff_ffff_ffffn),
    lockedBytes: () => byteLength(0n),
  }
  return {
    process,
    call: {
      process,
      tid: 1,
      memory,
      file: () => undefined,
      install: () => {
        throw new Error('the benchmarks ask for no descriptors')
      },
      fails: () => false,
    },
    scratch: memory.scratch,
    scratchAddress: userVa(BigInt(SCRATCH_AT)),
  }
}
