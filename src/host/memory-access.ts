/** Which way to a client's memory this machine permits; decided once. */
import type { MemoryAccess } from './client-memory.ts'
import type { Sys } from './sys.ts'

/** Tried on ourselves: a container runtime that refuses the call refuses it for every process. */
export const memoryAccess = (sys: Sys): MemoryAccess => {
  const { view, address } = sys.scratch
  view.setBigUint64(0, BigInt(address + 64), true)
  view.setBigUint64(8, 1n, true)
  view.setBigUint64(16, BigInt(address + 128), true)
  view.setBigUint64(24, 1n, true)
  const result = sys.call('process_vm_readv', process.pid, address, 1, address + 16, 1, 0)
  return result === 1 ? 'process_vm' : 'proc-mem'
}
