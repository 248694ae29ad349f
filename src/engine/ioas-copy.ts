/** IOMMU_IOAS_COPY: mapping the memory behind areas a second time (01 §14). */
import { type ByteLength, hex, type Iova, MAX_U64 } from '../abi/brands.ts'
import { IOMMU_IOAS_COPY } from '../abi/iommufd/ioas.ts'
import { AREA_WRITABLE } from './area-cursor.ts'
import { command } from './command.ts'
import { Ioas } from './ioas.ts'
import { emptyDomains, fillArea } from './ioas-fill.ts'
import { checkFixedIova, chooseIova } from './ioas-iova.ts'
import {
  areaFlags,
  checkMapArguments,
  emitMapped,
  insertArea,
  isFixed,
  LengthMisaligned,
  LengthZero,
  MemoryMisaligned,
} from './ioas-map.ts'
import { dropArea } from './ioas-unmap.ts'
import type { Caller } from './objects.ts'
import { addressOf, bytesBetween, offsetOf, PAGE, pageOf } from './page-address.ts'
import type { PageSource } from './page-source.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const SourceRangeOverflows = reasonKind<{ iova: bigint; length: bigint }>({
  code: 'source-range-overflows',
  errno: 'EOVERFLOW',
  cite: '01 §14 check 6',
  say: ({ iova, length }) => `src_iova ${hex(iova)} + length ${hex(length)} - 1 exceeds 2^64-1`,
  advice: 'The source range ends at 2^64-1 at the latest: check src_iova and length.',
})

export const NotCovered = reasonKind<{ ioas: number; at: bigint; start: bigint; length: bigint }>({
  code: 'copy-source-not-mapped',
  errno: 'ENOENT',
  cite: '01 §14 check 7',
  say: ({ ioas, at, start, length }) =>
    `nothing is mapped at ${hex(at)} of IOAS ${ioas}, within the ${hex(length)} bytes to copy from ${hex(start)} on`,
  advice: 'The whole source range must be mapped, without a gap.',
})

export const CopyNeedsWritable = reasonKind<{ source: string }>({
  code: 'copy-needs-writable',
  errno: 'EPERM',
  cite: '01 §14 check 11',
  say: ({ source }) => `${source} was not mapped WRITEABLE in the first place`,
  advice: 'Map with WRITEABLE, and restrict the copies.',
})

export interface CopyRequest {
  readonly from: Ioas
  readonly sourceIova: Iova
  readonly length: ByteLength
  /** Absent: the automatic rule chooses. */
  readonly iova?: Iova | undefined
  /** Permission bits of the new areas. */
  readonly flags: number
}

/** The part of one source area that is copied. */
interface Piece {
  readonly source: PageSource
  readonly slot: number
  readonly offset: number
  readonly length: bigint
}

/** The test interface's flag: `src_iova` counts areas instead (01 §14, 05 §A.7.1). */
const SYZ = 1 << 16

export const ioasCopy = command(IOMMU_IOAS_COPY, ({ context, call, args, respond }) => {
  let { flags, src_iova } = args
  const { dst_ioas_id, src_ioas_id, length, dst_iova } = args
  const converted = context.machine.testInterface && (flags & SYZ) !== 0
  if (converted) {
    flags &= ~SYZ
    const source = context.objects.peek(src_ioas_id)
    if (source instanceof Ioas) src_iova = nthArea(source, src_iova)
  }
  const refusal = checkMapArguments(
    flags,
    0,
    ['length', length],
    ['src_iova', src_iova],
    ['dst_iova', dst_iova],
  )
  if (refusal instanceof Refusal) return refusal
  const from = context.objects.find(src_ioas_id, Ioas, 'IOAS', call)
  if (from instanceof Refusal) return from
  const pieces = piecesOf(from, src_iova, length)
  if (pieces instanceof Refusal) return pieces
  const ioas = context.objects.find(dst_ioas_id, Ioas, 'IOAS', call)
  if (ioas instanceof Refusal) return ioas
  const copied = placePieces(ioas, call, pieces, {
    from,
    sourceIova: src_iova,
    length,
    iova: isFixed(flags) ? dst_iova : undefined,
    flags: areaFlags(flags),
  })
  if (copied instanceof Refusal) return copied
  return respond({ dst_iova: copied, ...(converted ? { flags, src_iova } : {}) })
})

/** Start of the n-th area (low half) plus an offset (high half); 0 where there is none. */
export const nthArea = (ioas: Ioas, iova: bigint): Iova => {
  let left = Number(iova & 0xffff_ffffn)
  const { areas } = ioas
  for (let more = areas.seek(0, 0); more; more = areas.next()) {
    if (left === 0) return ((ioas.areaAtCursor().range.start + (iova >> 32n)) & MAX_U64) as Iova
    left -= 1
  }
  return 0n as Iova
}

/** The core of a copy, for in-process callers. */
export const copyAreas = (ioas: Ioas, caller: Caller, request: CopyRequest): Result<Iova> => {
  const pieces = piecesOf(request.from, request.sourceIova, request.length)
  if (pieces instanceof Refusal) return pieces
  return placePieces(ioas, caller, pieces, request)
}

/** 01 §14 checks 5 to 7. */
const piecesOf = (from: Ioas, start: bigint, length: bigint): Result<Piece[]> => {
  if (length === 0n) return refuse(LengthZero, {})
  const last = start + length - 1n
  if (last > MAX_U64) return refuse(SourceRangeOverflows, { iova: start, length })
  const pieces: Piece[] = []
  const lastPage = pageOf(last)
  const lastOffset = offsetOf(last)
  let page = pageOf(start)
  let offset = offsetOf(start)
  const { areas } = from
  const gap = (): Refusal =>
    refuse(NotCovered, { ioas: from.id, at: addressOf(page, offset), start, length })
  for (let more = areas.seek(page, offset); ; more = areas.next()) {
    if (!more) return gap()
    const { firstPage, firstOffset } = areas
    if (firstPage > page || (firstPage === page && firstOffset > offset)) return gap()
    const atEnd =
      areas.lastPage > lastPage || (areas.lastPage === lastPage && areas.lastOffset >= lastOffset)
    const endPage = atEnd ? lastPage : areas.lastPage
    const endOffset = atEnd ? lastOffset : areas.lastOffset
    // Where the piece starts within its source: carry the bytes within the page over.
    const bytes = areas.sourceOffset + offset - firstOffset
    const carry = Math.floor(bytes / PAGE)
    pieces.push({
      source: areas.source,
      slot: areas.sourcePage + page - firstPage + carry,
      offset: bytes - carry * PAGE,
      length: bytesBetween(page, offset, endPage, endOffset),
    })
    if (atEnd) return pieces
    offset = (endOffset + 1) % PAGE
    page = offset === 0 ? endPage + 1 : endPage
  }
}

/** 01 §14 checks 9 to 12. */
const placePieces = (
  ioas: Ioas,
  caller: Caller,
  pieces: readonly Piece[],
  request: CopyRequest,
): Result<Iova> => {
  const { alignment, areas, domains } = ioas
  const { length, flags } = request
  const first = pieces[0]
  if (first === undefined) throw new Error('a copy has at least one piece')
  if (offsetOf(length) % alignment !== 0) return refuse(LengthMisaligned, { length, alignment })
  const lengthPage = pageOf(length)
  const lengthOffset = offsetOf(length)
  let iova = request.iova
  if (iova === undefined) {
    const address = first.source.firstPage + first.slot
    const chosen = chooseIova(ioas, address, first.offset, lengthPage, lengthOffset)
    if (chosen instanceof Refusal) return chosen
    iova = addressOf(chosen.page, chosen.pageOffset) as Iova
  } else {
    const refusal = checkFixedIova(ioas, pageOf(iova), offsetOf(iova), lengthPage, lengthOffset)
    if (refusal !== undefined) return refusal
  }
  for (const { source, slot, offset } of pieces) {
    if ((flags & AREA_WRITABLE) !== 0 && !source.writable)
      return refuse(CopyNeedsWritable, { source: source.toString() })
    if (offset % alignment !== 0)
      return refuse(MemoryMisaligned, {
        address: addressOf(source.firstPage + slot, offset),
        alignment,
      })
  }
  let at: bigint = iova
  for (const piece of pieces) {
    const { source, slot, offset, length: pieceLength } = piece
    const page = pageOf(at)
    const pageOffset = offsetOf(at)
    areas.seek(page, pageOffset)
    insertArea(
      ioas,
      page,
      pageOffset,
      pageOf(pieceLength),
      offsetOf(pieceLength),
      source,
      slot,
      offset,
      flags,
    )
    const refusal = domains.length > 0 ? fillArea(ioas, caller) : undefined
    if (refusal instanceof Refusal) {
      dropArea(ioas)
      undo(ioas, iova, at)
      return refusal
    }
    at += pieceLength
  }
  if (ioas.context.machine.memoryObserver !== undefined) {
    let to: bigint = iova
    const fixed = request.iova !== undefined
    for (const { source, slot, offset, length: pieceLength } of pieces) {
      const address = addressOf(source.firstPage + slot, offset)
      emitMapped(ioas, to as Iova, pieceLength as ByteLength, source, address, flags, fixed, {
        ioas: request.from.id,
        iova: (request.sourceIova + to - iova) as Iova,
      })
      to += pieceLength
    }
  }
  return iova
}

/** Removes the pieces placed so far: they are alone in [start, end). */
const undo = (ioas: Ioas, start: bigint, end: bigint): void => {
  const { areas } = ioas
  while (areas.seek(pageOf(start), offsetOf(start))) {
    if (ioas.areaAtCursor().range.start >= end) return
    emptyDomains(ioas, ioas.domains, true)
    dropArea(ioas)
  }
}
