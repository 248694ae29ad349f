/** Events as the engine emits them, with the parts that do not matter filled in. */
import { byteLength, iova as iovaOf, objectId, type Pasid, userVa } from '../../src/abi/brands.ts'
import { IOMMU_IOAS_MAP } from '../../src/abi/iommufd/ioas.ts'
import { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA } from '../../src/abi/vfio/container.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { type ReasonKind, refuse } from '../../src/engine/reason.ts'
import type { CallEvent } from '../../src/watch/trace-filter.ts'
import { bytes, call } from './calls.ts'

export const PAGE = 4096n

/** An open of the node in call 1, and IOAS 1 made in call 2. */
export const opened = (node = '/dev/iommu'): EngineEvent[] => [
  { type: 'context-opened', context: 1, call: 1, node, pid: 100 },
  ...(node === '/dev/iommu' ? madeIoas(2) : []),
]

export const madeIoas = (callNumber: number, id = 1): EngineEvent[] => [
  {
    type: 'object-created',
    context: 1,
    call: callNumber,
    id: objectId(id),
    object: 'ioas',
    holds: [],
  },
]

export const mapped = (
  callNumber: number,
  iova: bigint,
  length: bigint,
  more: Partial<EngineEvent & { type: 'area-mapped' }> & { readonly address?: bigint } = {},
): EngineEvent => {
  const { address = 0x7f00_0000_0000n + iova, ...others } = more
  return {
    type: 'area-mapped',
    context: 1,
    call: callNumber,
    ioas: objectId(1),
    iova: iovaOf(iova),
    length: byteLength(length),
    source: 'memory of process 100 (prog)',
    fixed: true,
    readable: true,
    writable: true,
    memory: { pid: 100, space: 5, address: userVa(address) },
    ...others,
  }
}

export const unmapped = (callNumber: number, iova: bigint, length: bigint): EngineEvent => ({
  type: 'area-unmapped',
  context: 1,
  call: callNumber,
  ioas: objectId(1),
  iova: iovaOf(iova),
  length: byteLength(length),
})

export const attached = (callNumber: number, device: string): EngineEvent[] => [
  { type: 'device-bound', context: 1, call: callNumber - 1, device, object: objectId(9), group: 0 },
  {
    type: 'attached',
    context: 1,
    call: callNumber,
    device,
    object: objectId(9),
    ioas: objectId(1),
    hwpt: objectId(10),
    throughContainer: false,
  },
]

export const replaced = (
  callNumber: number,
  start: bigint,
  end: bigint,
  by: (EngineEvent & { type: 'memory-replaced' })['by'] = 'munmap',
): EngineEvent => ({
  type: 'memory-replaced',
  call: callNumber,
  pid: 100,
  tid: 101,
  space: 5,
  start: userVa(start),
  end: userVa(end),
  by,
})

export const dma = (iova: bigint, length: bigint, write = true): EngineEvent => ({
  type: 'dma',
  context: 1,
  call: 0,
  device: '0000:00:03.0',
  ioas: objectId(1),
  iova: iovaOf(iova),
  length: byteLength(length),
  write,
})

export const fault = (
  iova: bigint,
  why: (EngineEvent & { type: 'dma-fault' })['fault'] = 'not-mapped',
  pasid?: Pasid,
): EngineEvent => ({
  type: 'dma-fault',
  context: 1,
  call: 0,
  device: '0000:00:03.0',
  ioas: objectId(1),
  iova: iovaOf(iova),
  write: true,
  fault: why,
  pasid,
})

/** A reason with these fields, as a call's result. */
export const refused = <Fields>(
  callNumber: number,
  kind: ReasonKind<Fields>,
  fields: Fields,
  more: Partial<CallEvent> = {},
): CallEvent => call({ call: callNumber, result: refuse(kind, fields), ...more })

/** The end of an IOAS_MAP that passed one IOVA and got another. */
export const mapCall = (
  callNumber: number,
  passed: bigint,
  chosen: bigint,
  length = PAGE,
): CallEvent => {
  const args = { ioas_id: objectId(1), length: byteLength(length) }
  return call({
    call: callNumber,
    request: IOMMU_IOAS_MAP.request,
    input: bytes(IOMMU_IOAS_MAP.struct, { ...args, iova: iovaOf(passed) }),
    output: bytes(IOMMU_IOAS_MAP.struct, { ...args, iova: iovaOf(chosen) }),
  })
}

const unmapBytes = (iova: bigint, size: bigint): Uint8Array =>
  bytes(VFIO_IOMMU_UNMAP_DMA.struct, { iova: iovaOf(iova), size: byteLength(size) })

/** VFIO_IOMMU_UNMAP_DMA of `size` bytes that unmapped `removed`. */
export const unmapDma = (
  callNumber: number,
  iova: bigint,
  size: bigint,
  removed: bigint,
): CallEvent =>
  call({
    call: callNumber,
    file: '/dev/vfio/vfio',
    request: VFIO_IOMMU_UNMAP_DMA.request,
    input: unmapBytes(iova, size),
    output: unmapBytes(iova, removed),
  })

/** VFIO_IOMMU_MAP_DMA, as a call event's parts. */
export const mapDma = (iova: bigint, size: bigint): Partial<CallEvent> => ({
  file: '/dev/vfio/vfio',
  request: VFIO_IOMMU_MAP_DMA.request,
  input: bytes(VFIO_IOMMU_MAP_DMA.struct, { iova: iovaOf(iova), size: byteLength(size) }),
})
