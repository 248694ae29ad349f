/** IOMMU_IOAS_MAP and IOMMU_IOAS_MAP_FILE, and the core operation that VFIO shares (01 §12, §13). */
import { type ByteLength, hex, type Iova, MAX_U64, type UserVa } from '../abi/brands.ts'
import { IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMUFD_IOAS_MAP_FLAGS } from '../abi/iommufd/ioas.ts'
import { AREA_READABLE, AREA_WRITABLE } from './area-cursor.ts'
import { command } from './command.ts'
import type { ContextEvent } from './context.ts'
import { type DmaBuf, isDmaBuf } from './dma-buf.ts'
import type { ProcessMemory } from './events.ts'
import type { FrameTable } from './frames.ts'
import { Ioas, type MapRequest } from './ioas.ts'
import { fillArea } from './ioas-fill.ts'
import { checkFixedIova, chooseIova } from './ioas-iova.ts'
import type { Caller } from './objects.ts'
import { addressOf, LAST_PAGE, offsetOf, PAGE, pageOf } from './page-address.ts'
import { DmaBufBacking, PageSource } from './page-source.ts'
import type { HeldFile } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const UnknownMapFlags = reasonKind<{ flags: number }>({
  code: 'unknown-map-flags',
  errno: 'EOPNOTSUPP',
  cite: '01 §12.1 check 1',
  say: ({ flags }) => `the flags ${hex(flags)} have bits beyond FIXED_IOVA, WRITEABLE and READABLE`,
  advice:
    'Use only IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_WRITEABLE and IOMMU_IOAS_MAP_READABLE.',
})

export const ReservedFieldSet = reasonKind<{ value: number }>({
  code: 'reserved-field-set',
  errno: 'EOPNOTSUPP',
  cite: '01 §4.2, §8, §10 to §12, §16',
  say: ({ value }) => `the reserved field is ${hex(value)}, not 0`,
  advice: 'Zero the whole structure before filling it in.',
})

export const ValueIsMax = reasonKind<{ field: string }>({
  code: 'value-is-max',
  errno: 'EOVERFLOW',
  cite: '01 §12.1 check 2',
  say: ({ field }) => `${field} is 2^64-1`,
  advice:
    'An all-ones value is most often an error code or a variable that was never set: look where it comes from.',
})

export const NoPermission = reasonKind({
  code: 'map-without-permission',
  errno: 'EINVAL',
  cite: '01 §12.1 check 3',
  say: () => 'neither WRITEABLE nor READABLE is asked for',
  advice: 'Set IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE or both.',
})

export const MemoryOverflows = reasonKind<{ va: bigint; length: bigint }>({
  code: 'memory-overflows',
  errno: 'EOVERFLOW',
  cite: '01 §12.2 step 1',
  say: ({ va, length }) => `${hex(va)} + ${hex(length)} does not fit 64 bits`,
  advice: 'Check user_va and length: no process has memory there.',
})

export const LengthZero = reasonKind({
  code: 'length-zero',
  errno: 'EINVAL',
  cite: '01 §12.2 step 2, §13 check 5, §14 check 5, §15 step 3',
  say: () => 'length is 0',
  advice: 'Set length to the number of bytes, and leave the call out where there are none.',
})

export const LengthTooLarge = reasonKind<{ length: bigint }>({
  code: 'length-too-large',
  errno: 'EINVAL',
  cite: '01 §12.2 step 2',
  say: ({ length }) => `length ${hex(length)} is above 0xffffffffffffefff`,
  advice: 'Map what the program has: no process has that much memory.',
})

export const LengthMisaligned = reasonKind<{ length: bigint; alignment: number }>({
  code: 'length-misaligned',
  errno: 'EINVAL',
  cite: '01 §12.2 step 4',
  say: ({ length, alignment }) =>
    `length ${hex(length)} is not a multiple of ${hex(alignment)}, the IOAS's alignment`,
  advice:
    'Round length up to the alignment that IOMMU_IOAS_IOVA_RANGES reports; it rises when devices attach.',
})

export const MemoryMisaligned = reasonKind<{ address: bigint; alignment: number }>({
  code: 'memory-misaligned',
  errno: 'EINVAL',
  cite: '01 §12.2 step 6',
  say: ({ address, alignment }) =>
    `the memory starts at ${hex(address)}, whose offset in its page is not a multiple of ${hex(alignment)}, the IOAS's alignment`,
  advice:
    'Allocate the buffer at the alignment that IOMMU_IOAS_IOVA_RANGES reports, as by mmap or posix_memalign.',
})

export const SourceTooLarge = reasonKind<{ address: bigint; length: bigint }>({
  code: 'source-too-large',
  errno: 'EOVERFLOW',
  cite: '01 §12.2, pathological lengths',
  say: ({ address, length }) =>
    `${hex(length)} bytes from ${hex(address)} on are more pages than there are`,
  advice: 'Map what the program has: no process has that much memory.',
})

export const FileRangeOverflows = reasonKind<{ start: bigint; length: bigint }>({
  code: 'file-range-overflows',
  errno: 'EOVERFLOW',
  cite: '01 §13 check 6',
  say: ({ start, length }) => `start ${hex(start)} + length ${hex(length)} - 1 exceeds 2^64-1`,
  advice: 'Check start and length: no file reaches there.',
})

export const NotADescriptor = reasonKind<{ fd: number }>({
  code: 'not-a-descriptor',
  errno: 'EBADF',
  cite: '01 §13 check 7',
  say: ({ fd }) => `${fd} is not an open descriptor of the caller (O_PATH ones do not count)`,
  advice: 'Pass an open descriptor of a memfd, of a file in tmpfs or hugetlbfs, or of a dma-buf.',
})

export const BeyondDmaBuf = reasonKind<{ start: bigint; length: bigint; size: bigint }>({
  code: 'beyond-dma-buf',
  errno: 'EINVAL',
  cite: '01 §13.2 check 1',
  say: ({ start, length, size }) =>
    `the range of ${hex(length)} bytes at ${hex(start)} is not within the dma-buf of ${hex(size)} bytes`,
  advice: 'Map a range within the dma-buf; lseek(fd, 0, SEEK_END) tells its size.',
})

export const FileNotPinnable = reasonKind<{ name: string }>({
  code: 'file-not-pinnable',
  errno: 'EINVAL',
  cite: '01 §13.1',
  say: ({ name }) =>
    `${name} is not shared memory: only memfd, tmpfs and hugetlbfs files have pages for DMA`,
  advice: 'Put the memory into a memfd, or map it by its address with IOMMU_IOAS_MAP.',
})

const {
  IOMMU_IOAS_MAP_FIXED_IOVA: FIXED,
  IOMMU_IOAS_MAP_WRITEABLE,
  IOMMU_IOAS_MAP_READABLE,
} = IOMMUFD_IOAS_MAP_FLAGS
const KNOWN_FLAGS = FIXED | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE

/** Permission bits of an area from MAP flags; 0 where neither is asked for. */
export const areaFlags = (flags: number): number =>
  ((flags & IOMMU_IOAS_MAP_READABLE) !== 0 ? AREA_READABLE : 0) |
  ((flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0 ? AREA_WRITABLE : 0)

/** The three checks that MAP, MAP_FILE and COPY begin with. */
export const checkMapArguments = (
  flags: number,
  reserved: number,
  ...sizes: readonly (readonly [field: string, value: bigint])[]
): Result<void> => {
  if ((flags & ~KNOWN_FLAGS) !== 0) return refuse(UnknownMapFlags, { flags })
  if (reserved !== 0) return refuse(ReservedFieldSet, { value: reserved })
  for (const [field, value] of sizes) if (value === MAX_U64) return refuse(ValueIsMax, { field })
  if (areaFlags(flags) === 0) return refuse(NoPermission, {})
}

export const isFixed = (flags: number): boolean => (flags & FIXED) !== 0

export const ioasMap = command(IOMMU_IOAS_MAP, ({ context, call, args, respond }) => {
  const { flags, ioas_id, user_va, length, iova, __reserved } = args
  const refusal = checkMapArguments(flags, __reserved, ['iova', iova], ['length', length])
  if (refusal instanceof Refusal) return refusal
  const ioas = context.objects.find(ioas_id, Ioas, 'IOAS', call)
  if (ioas instanceof Refusal) return ioas
  const mapped = mapMemory(ioas, call, {
    va: user_va,
    length,
    iova: isFixed(flags) ? iova : undefined,
    readable: (flags & IOMMU_IOAS_MAP_READABLE) !== 0,
    writable: (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0,
  })
  if (mapped instanceof Refusal) return mapped
  // A response that faults leaves the mapping (01 §12.1 step 6).
  return respond({ iova: mapped })
})

/** 01 §12.2, from a VA of the caller. Without any permission: only VFIO maps so (02 §3.5). */
export const mapMemory = (ioas: Ioas, caller: Caller, request: MapRequest): Result<Iova> => {
  const { va, length, iova, readable, writable } = request
  const page = pageOf(va)
  const offset = offsetOf(va)
  const lengthPage = pageOf(length)
  const lengthOffset = offsetOf(length)
  if (page + lengthPage + Math.floor((offset + lengthOffset) / PAGE) > LAST_PAGE)
    return refuse(MemoryOverflows, { va, length })
  const refusal = checkLength(length)
  if (refusal instanceof Refusal) return refusal
  const owner = ioas.context.owners.of(caller.process)
  const source = new PageSource(owner, undefined, page, writable)
  const flags = (readable ? AREA_READABLE : 0) | (writable ? AREA_WRITABLE : 0)
  return mapSource(ioas, caller, source, offset, length, iova, flags)
}

const checkLength = (length: bigint): Refusal | undefined => {
  if (length === 0n) return refuse(LengthZero, {})
  if (pageOf(length) === LAST_PAGE) return refuse(LengthTooLarge, { length })
}

/** Steps 4 to 8 of 01 §12.2 for a new source whose first byte is `offset` bytes into its slot 0. */
const mapSource = (
  ioas: Ioas,
  caller: Caller,
  source: PageSource,
  offset: number,
  length: ByteLength,
  fixed: Iova | undefined,
  flags: number,
): Result<Iova> => {
  const { alignment, areas } = ioas
  const lengthPage = pageOf(length)
  const lengthOffset = offsetOf(length)
  if (lengthOffset % alignment !== 0) return refuse(LengthMisaligned, { length, alignment })
  let page: number
  let pageOffset: number
  if (fixed === undefined) {
    const chosen = chooseIova(ioas, source.firstPage, offset, lengthPage, lengthOffset)
    if (chosen instanceof Refusal) return chosen
    page = chosen.page
    pageOffset = chosen.pageOffset
    areas.seek(page, pageOffset)
  } else {
    page = pageOf(fixed)
    pageOffset = offsetOf(fixed)
    const refusal = checkFixedIova(ioas, page, pageOffset, lengthPage, lengthOffset)
    if (refusal !== undefined) return refusal
  }
  if (offset % alignment !== 0)
    return refuse(MemoryMisaligned, { address: addressOf(source.firstPage, offset), alignment })
  // The last slot must still have a number: (VA mod P) + length > 2^64 - P.
  const slots = lengthPage + Math.ceil((lengthOffset + offset) / PAGE)
  if (slots > LAST_PAGE)
    return refuse(SourceTooLarge, { address: addressOf(source.firstPage, offset), length })
  insertArea(ioas, page, pageOffset, lengthPage, lengthOffset, source, 0, offset, flags)
  if (ioas.domains.length > 0) {
    const refusal = fillArea(ioas, caller)
    if (refusal instanceof Refusal) {
      areas.remove()
      return refusal
    }
  }
  const iova = fixed ?? (addressOf(page, pageOffset) as Iova)
  if (ioas.context.machine.memoryObserver !== undefined) {
    const address = addressOf(source.firstPage, offset)
    emitMapped(ioas, iova, length, source, address, flags, fixed !== undefined)
  }
  return iova
}

/**
 * Adds an area where the store's cursor stands, without pinning anything. IOVA and length as (page,
 * offset).
 */
export const insertArea = (
  ioas: Ioas,
  page: number,
  pageOffset: number,
  lengthPage: number,
  lengthOffset: number,
  source: PageSource,
  slot: number,
  offset: number,
  flags: number,
): void => {
  const last = pageOffset + lengthOffset - 1
  ioas.areas.insert(
    page,
    pageOffset,
    page + lengthPage + Math.floor(last / PAGE),
    last & (PAGE - 1),
    source,
    slot,
    offset,
    flags,
  )
  source.areas += 1
  source.dmaBuf?.shown(ioas)
}

export const emitMapped = (
  ioas: Ioas,
  iova: Iova,
  length: ByteLength,
  source: PageSource,
  address: bigint,
  flags: number,
  fixed: boolean,
  copyOf?: { readonly ioas: Ioas['id']; readonly iova: Iova },
): void => {
  ioas.touch(iova, length, 'map')
  const event: { -readonly [Name in keyof AreaMapped]: AreaMapped[Name] } = {
    type: 'area-mapped',
    ioas: ioas.id,
    iova,
    length,
    source: source.toString(),
    fixed,
    readable: (flags & AREA_READABLE) !== 0,
    writable: (flags & AREA_WRITABLE) !== 0,
  }
  if (source.backing === undefined) event.memory = memoryAt(source, address)
  if (copyOf !== undefined) event.copyOf = copyOf
  ioas.context.emit(event)
}

type AreaMapped = ContextEvent & { readonly type: 'area-mapped' }

const memoryAt = ({ owner }: PageSource, address: bigint): ProcessMemory => ({
  pid: owner.process.pid,
  space: owner.space.id,
  address: address as UserVa,
})

export const ioasMapFile = command(IOMMU_IOAS_MAP_FILE, ({ context, call, args, respond }) => {
  const { flags, ioas_id, fd, start, length, iova } = args
  const refusal = checkMapArguments(flags, 0, ['iova', iova], ['length', length])
  if (refusal instanceof Refusal) return refusal
  const ioas = context.objects.find(ioas_id, Ioas, 'IOAS', call)
  if (ioas instanceof Refusal) return ioas
  if (length === 0n) return refuse(LengthZero, {})
  if (start + length - 1n > MAX_U64) return refuse(FileRangeOverflows, { start, length })
  const file = call.file(fd)
  if (file === undefined) return refuse(NotADescriptor, { fd })
  const backing = isDmaBuf(file)
    ? attachDmaBuf(context.machine.frames, file, start, length)
    : holdFile('foreign' in file ? file.dup() : unpinnable(file.linkText), length)
  if (backing instanceof Refusal) return backing
  const owner =
    backing instanceof DmaBufBacking
      ? context.owners.withMode(call.process, 'none')
      : context.owners.of(call.process)
  const writable = (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0
  const source = new PageSource(owner, backing, pageOf(start), writable)
  const fixed = isFixed(flags) ? iova : undefined
  const mapped = mapSource(ioas, call, source, offsetOf(start), length, fixed, areaFlags(flags))
  if (mapped instanceof Refusal) {
    source.dispose()
    return mapped
  }
  return respond({ iova: mapped })
})

/** 01 §13.2 checks 1 to 4. */
const attachDmaBuf = (
  frames: FrameTable,
  file: DmaBuf,
  start: bigint,
  length: bigint,
): Result<DmaBufBacking> => {
  if (file.length <= start + length - 1n || length >> 12n >= 0xffff_ffffn)
    return refuse(BeyondDmaBuf, { start, length, size: file.length })
  let backing: DmaBufBacking | undefined
  const attachment = file.attach({ revoked: () => backing?.revoke() })
  if (attachment instanceof Refusal) return attachment
  backing = new DmaBufBacking(file.linkText, attachment, frames)
  return backing
}

const holdFile = (file: HeldFile, length: bigint): Result<HeldFile> => {
  const refusal = checkLength(length)
  if (refusal instanceof Refusal) {
    file.close()
    return refusal
  }
  return file
}

/** A file of ours that is no dma-buf: accepted, but it has no pages to give (01 §13.1). */
const unpinnable = (name: string): HeldFile => ({
  name,
  take: () => refuse(FileNotPinnable, { name }),
  close: () => {},
})
