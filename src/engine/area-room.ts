/**
 * Does a request fit into a gap, and where? The rule of 01 §12.3 step 6, on (page, offset) pairs.
 *
 * A request asks for `length` bytes at an address that is a multiple of the alignment A = 2^shift,
 * with the low bits `offset` OR-ed in.
 */
import { PAGE } from './page-address.ts'

/** Alignments from 1 to 2 MiB: one class of request each. */
export const ALIGNMENTS = 22

export class RoomRequest {
  /** log2 of A. */
  readonly shift: number
  /** Source address modulo the page size; 0 unless A is below a page. */
  readonly offset: number
  /** length - 1, as page and offset. */
  readonly spanPage: number
  readonly spanOffset: number
  /** A bound that is never above the length: rounding must not make a gap look too small. */
  readonly atLeast: number
  /** Where the last successful `fits` put the request. */
  page = 0
  pageOffset = 0

  constructor(shift: number, offset: number, spanPage: number, spanOffset: number) {
    this.shift = shift
    this.offset = offset
    this.spanPage = spanPage
    this.spanOffset = spanOffset
    this.atLeast = (spanPage * PAGE + spanOffset + 1) * (1 - 2 ** -50)
  }

  /** Tries the gap from its first to its last byte (inclusive); on success `page`, `pageOffset` say where. */
  fits(firstPage: number, firstOffset: number, lastPage: number, lastOffset: number): boolean {
    let page = firstPage
    let offset = firstOffset
    if (this.shift <= 12) {
      const mask = (1 << this.shift) - 1
      offset = (offset + mask) & ~mask
      if (offset === PAGE) {
        offset = 0
        page += 1
      }
      offset |= this.offset
    } else {
      const pages = 2 ** (this.shift - 12)
      if (offset > 0) page += 1
      offset = 0
      page = Math.ceil(page / pages) * pages
    }
    const spanPages = lastPage - page
    const spanBytes = lastOffset - offset
    // Strictly below the last byte: a gap of one byte is never used (01 §12.3, details).
    if (spanPages * PAGE + spanBytes <= 0) return false
    // Only the sign matters, and rounding of large products keeps it.
    if ((spanPages - this.spanPage) * PAGE + (spanBytes - this.spanOffset) < 0) return false
    this.page = page
    this.pageOffset = offset
    return true
  }
}

/** Bytes that a request of this alignment and offset could have in the gap; 0 for none. Rounded above 2^53. */
export const roomIn = (
  shift: number,
  or: number,
  firstPage: number,
  firstOffset: number,
  lastPage: number,
  lastOffset: number,
): number => {
  let page = firstPage
  let offset = firstOffset
  if (shift <= 12) {
    const mask = (1 << shift) - 1
    offset = (offset + mask) & ~mask
    if (offset === PAGE) {
      offset = 0
      page += 1
    }
    offset |= or
  } else {
    const pages = 2 ** (shift - 12)
    if (offset > 0) page += 1
    offset = 0
    page = Math.ceil(page / pages) * pages
  }
  const span = (lastPage - page) * PAGE + (lastOffset - offset)
  return span > 0 ? span + 1 : 0
}
