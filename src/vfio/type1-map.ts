/** VFIO_IOMMU_MAP_DMA of a native type1 container (02 §6.5). */
import { hex, type Iova, MAX_U64, iova as toIova, type UserVa } from '../abi/brands.ts'
import { VFIO_DMA_MAP_FLAGS, VFIO_IOMMU_MAP_DMA } from '../abi/vfio/container.ts'
import type { AreaView, IovaRange } from '../engine/ioas.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { readVfioStruct } from '../engine/vfio-struct.ts'
import type { Type1Backend } from './type1-backend.ts'

export const Type1UnknownFlags = reasonKind<{ request: string; flags: number }>({
  code: 'type1-unknown-flags',
  errno: 'EINVAL',
  cite: '02 §6.5 step 2, §6.6 step 2',
  say: ({ request, flags }) =>
    `${request} with flags ${hex(flags)}: only the lower three bits are known`,
  advice: 'Use the flags of linux/vfio.h, and ask VFIO_CHECK_EXTENSION before using newer ones.',
})
export const Type1SizeZero = reasonKind<{ request: string }>({
  code: 'type1-size-zero',
  errno: 'EINVAL',
  cite: '02 §6.5 step 3, §6.6 step 7',
  say: ({ request }) => `${request} with size 0`,
  advice: 'Set size to the number of bytes; to unmap everything, use VFIO_DMA_UNMAP_FLAG_ALL.',
})
export const Type1Wraps = reasonKind<{ what: string; start: bigint; size: bigint }>({
  code: 'type1-wraps',
  errno: 'EOVERFLOW',
  cite: '02 §6.5 step 4, §6.6 step 7',
  say: ({ what, start, size }) =>
    `${what} ${hex(start)} and size ${hex(size)} pass the end of 64 bits`,
  advice: 'Check the address and the size: together they end at 2^64-1 at the latest.',
})
export const Type1FlagsContradict = reasonKind<{ flags: number }>({
  code: 'type1-flags-contradict',
  errno: 'EINVAL',
  cite: '02 §6.5 step 5',
  say: ({ flags }) =>
    flags === 0
      ? 'neither READ nor WRITE is asked for'
      : 'VADDR cannot be combined with READ or WRITE',
  advice:
    'Set VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE or both, or VFIO_DMA_MAP_FLAG_VADDR alone.',
})
export const Type1Misaligned = reasonKind<{
  iova: bigint
  vaddr?: bigint
  size: bigint
  page: bigint
}>({
  code: 'type1-misaligned',
  errno: 'EINVAL',
  cite: '02 §6.5 step 6, §6.6 steps 6 and 7',
  say: ({ iova, vaddr, size, page }) =>
    `iova ${hex(iova)}, ${vaddr === undefined ? '' : `vaddr ${hex(vaddr)}, `}size ${hex(size)} must be multiples of ${hex(page)}, the smallest page`,
  advice: 'Align iova, vaddr and size to the smallest page size that VFIO_IOMMU_GET_INFO reports.',
})
export const Type1Overlaps = reasonKind<{ wanted: IovaRange; mapping: IovaRange }>({
  code: 'type1-overlaps',
  errno: 'EEXIST',
  cite: '02 §6.5 step 8',
  say: ({ wanted, mapping }) =>
    `${hex(wanted.start)}-${hex(wanted.last)} overlaps the mapping ${hex(mapping.start)}-${hex(mapping.last)}`,
  advice: 'Unmap it first.',
})
export const Type1NoMappingLeft = reasonKind({
  code: 'type1-no-mapping-left',
  errno: 'ENOSPC',
  cite: '02 §6.5 step 9',
  say: () => 'the container has as many mappings as it may (65535)',
  advice: 'Use fewer and larger mappings; an iommufd has no such limit.',
})
export const Type1IovaNotValid = reasonKind<{ wanted: IovaRange; valid: readonly IovaRange[] }>({
  code: 'type1-iova-not-valid',
  errno: 'EINVAL',
  cite: '02 §6.5 step 10',
  say: ({ wanted, valid }) =>
    `${hex(wanted.start)}-${hex(wanted.last)} is not inside one of the valid IOVA ranges: ${valid
      .map(({ start, last }) => `${hex(start)}-${hex(last)}`)
      .join(', ')}`,
  advice: 'Ask VFIO_IOMMU_GET_INFO for the IOVA ranges.',
})
export const Type1LastAddress = reasonKind<{ vaddr: bigint; size: bigint }>({
  code: 'type1-last-address',
  errno: 'EFAULT',
  cite: '02 §6.5 step 11',
  say: ({ vaddr, size }) =>
    `no process has memory up to the last address, which vaddr ${hex(vaddr)} and size ${hex(size)} reach`,
  advice: 'Check vaddr and size: no process has memory there.',
})
export const Type1NoMappingForVaddr = reasonKind<{ wanted: IovaRange }>({
  code: 'type1-no-mapping-for-vaddr',
  errno: 'ENOENT',
  cite: '02 §6.5 step 7',
  say: ({ wanted }) => `nothing is mapped in ${hex(wanted.start)}-${hex(wanted.last)}`,
  advice: 'Name a whole mapping whose vaddr was invalidated before (VFIO_DMA_UNMAP_FLAG_VADDR).',
})
export const Type1VaddrNotAwaited = reasonKind<{ wanted: IovaRange; mapping: IovaRange }>({
  code: 'type1-vaddr-not-awaited',
  errno: 'EINVAL',
  cite: '02 §6.5 step 7',
  say: ({ wanted, mapping }) =>
    `the mapping ${hex(mapping.start)}-${hex(mapping.last)} awaits no new vaddr, or is not exactly ${hex(wanted.start)}-${hex(wanted.last)}`,
  advice: 'Invalidate it first (VFIO_DMA_UNMAP_FLAG_VADDR), and name exactly the mapping.',
})

const {
  VFIO_DMA_MAP_FLAG_READ: READ,
  VFIO_DMA_MAP_FLAG_WRITE: WRITE,
  VFIO_DMA_MAP_FLAG_VADDR: VADDR,
} = VFIO_DMA_MAP_FLAGS

/** The first mapping that touches a range. */
export const mappingTouching = ({ ioas }: Type1Backend, range: IovaRange): AreaView | undefined => {
  let found: AreaView | undefined
  ioas.forEachArea((area) => {
    found = area
    return false
  }, range)
  return found
}

export const type1MapDma = (
  backend: Type1Backend,
  call: Call,
  argument: UserVa,
): Result<number> => {
  const request = VFIO_IOMMU_MAP_DMA.name
  const args = readVfioStruct(backend.machine, call, argument, VFIO_IOMMU_MAP_DMA)
  if (args instanceof Refusal) return args
  const { flags, vaddr, iova, size } = args
  if ((flags & ~(READ | WRITE | VADDR)) !== 0) return refuse(Type1UnknownFlags, { request, flags })
  if (size === 0n) return refuse(Type1SizeZero, { request })
  if (iova + size - 1n > MAX_U64) return refuse(Type1Wraps, { what: 'iova', start: iova, size })
  if (vaddr + size - 1n > MAX_U64) return refuse(Type1Wraps, { what: 'vaddr', start: vaddr, size })
  if (flags === 0 || (flags !== VADDR && (flags & VADDR) !== 0))
    return refuse(Type1FlagsContradict, { flags })
  const page = backend.smallestPage
  if (((iova | vaddr | size) & (page - 1n)) !== 0n)
    return refuse(Type1Misaligned, { iova, vaddr, size, page })

  const wanted = { start: iova, last: toIova(iova + size - 1n) }
  const mapping = mappingTouching(backend, wanted)
  if (flags === VADDR) return renewVaddr(backend, wanted, mapping)
  if (mapping !== undefined) return refuse(Type1Overlaps, { wanted, mapping })
  if (backend.available === 0) return refuse(Type1NoMappingLeft, {})
  const valid = backend.validRanges
  if (
    valid !== undefined &&
    !valid.some((range) => range.start <= iova && wanted.last <= range.last)
  )
    return refuse(Type1IovaNotValid, { wanted, valid })
  if (vaddr + size > MAX_U64) return refuse(Type1LastAddress, { vaddr, size })
  const readable = (flags & READ) !== 0
  const writable = (flags & WRITE) !== 0
  const mapped = backend.ioas.map(call, { va: vaddr, length: size, iova, readable, writable })
  return mapped instanceof Refusal ? mapped : 0
}

/** A new vaddr for an invalidated mapping: the pages are pinned, so that nothing else changes. */
const renewVaddr = (
  backend: Type1Backend,
  wanted: { readonly start: Iova; readonly last: Iova },
  mapping: AreaView | undefined,
): Result<number> => {
  if (mapping === undefined) return refuse(Type1NoMappingForVaddr, { wanted })
  const exact = mapping.start === wanted.start && mapping.last === wanted.last
  if (!exact || !backend.invalidated.delete(mapping.start))
    return refuse(Type1VaddrNotAwaited, { wanted, mapping })
  return 0
}
