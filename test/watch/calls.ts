import type { DecodedFields, Fields, Struct } from '../../src/abi/layout.ts'
import type { CallEvent } from '../../src/watch/trace-filter.ts'

/** A call event with the parts that do not matter filled in. */
export const call = (parts: Partial<CallEvent>): CallEvent => ({
  type: 'call',
  call: 1,
  context: 1,
  pid: 100,
  tid: 100,
  operation: 'ioctl',
  file: '/dev/iommu',
  result: 0,
  ...parts,
})

export const bytes = <F extends Fields>(
  struct: Struct<F>,
  value: Partial<DecodedFields<F>>,
): Uint8Array => struct.encode(value)
