/** Where the frames of an extent are in the memory of a process: what a device worker is told, and reckons with. */
import type { FrameExtent } from '../engine/frames.ts'
import { PAGE_SIZE } from './kernel.ts'
import { MemoryObject } from './page-objects.ts'

/** Some pages of an extent, one after another in a memory. */
export interface FramePlace {
  /** First frame of the extent. */
  readonly extent: number
  readonly contiguity: number
  /** Of the extent: so many pages from this one on. */
  readonly firstPage: number
  readonly pages: number
  /** Where the first of them is: in what `descriptor` has open, which is the memory of `process` (or 0). */
  readonly descriptor: number
  readonly address: number
  readonly process: number
}

/** The pages around a frame; undefined where only the engine's own ways lead to them. */
export const placeOfFrame = (
  { object, firstPage, count, contiguity, frame: extent }: FrameExtent,
  frame: number,
): FramePlace | undefined => {
  const page = pageInExtent(extent, contiguity, frame)
  const memory = object.behind ?? object
  if (page === undefined || page >= count || !(memory instanceof MemoryObject)) return undefined
  const place = memory.place(firstPage + page)
  if (place === undefined) return undefined
  const from = Math.max(0, place.firstPage - firstPage)
  const to = Math.min(count, place.endPage - firstPage)
  const { descriptor, process } = place
  const address = place.address + (firstPage + from - place.firstPage) * PAGE_SIZE
  return { extent, contiguity, firstPage: from, pages: to - from, descriptor, address, process }
}

/** Where the frame begins in the memory of the place, if it is one of its. */
export const addressIn = (place: FramePlace, frame: number): number | undefined => {
  const page = pageInExtent(place.extent, place.contiguity, frame)
  if (page === undefined) return undefined
  const index = page - place.firstPage
  return index >= 0 && index < place.pages ? place.address + index * PAGE_SIZE : undefined
}

/** First frame of the place, and the one behind its last. */
export const framesOf = ({ extent, contiguity, firstPage, pages }: FramePlace) => {
  const frameOf = (page: number): number => {
    const inBlock = page % contiguity
    return extent + (page - inBlock) * 2 + inBlock
  }
  return { start: frameOf(firstPage), end: frameOf(firstPage + pages - 1) + 1 }
}

/** Blocks of `contiguity` pages, each followed by as many frames of nobody (engine/frames.ts). */
const pageInExtent = (extent: number, contiguity: number, frame: number): number | undefined => {
  const inExtent = frame - extent
  if (inExtent < 0) return undefined
  const inBlock = inExtent % (2 * contiguity)
  return inBlock < contiguity ? (inExtent - inBlock) / 2 + inBlock : undefined
}
