/** Physical region pages: where the data of a command lies (06 §14.5). */
import { CompletionStatus } from './completion-status.ts'
import {
  addressAt,
  type DeviceMemory,
  type DmaAddress,
  type DmaPiece,
  PAGE_SIZE,
} from './device-memory.ts'

const ENTRY = 8

/** The pieces that PRP1 and PRP2 describe for `length` bytes, neighbours joined; or the status of the error. */
export const prpPieces = (
  memory: DeviceMemory,
  prp1: DmaAddress,
  prp2: DmaAddress,
  length: number,
): readonly DmaPiece[] | number => {
  if (prp1.offset % 4 !== 0) return CompletionStatus.PRP_OFFSET_INVALID
  const first = Math.min(length, PAGE_SIZE - prp1.offset)
  const pieces = new Pieces(prp1, first)
  const rest = length - first
  if (rest === 0) return pieces.list
  if (rest <= PAGE_SIZE) {
    if (prp2.offset !== 0) return CompletionStatus.PRP_OFFSET_INVALID
    pieces.add(prp2.page, rest)
    return pieces.list
  }
  return walkList(memory, prp2, rest, pieces)
}

const walkList = (
  memory: DeviceMemory,
  start: DmaAddress,
  bytes: number,
  pieces: Pieces,
): readonly DmaPiece[] | number => {
  if (start.offset % ENTRY !== 0) return CompletionStatus.PRP_OFFSET_INVALID
  let list = start
  for (let rest = bytes; ; ) {
    const wanted = Math.ceil(rest / PAGE_SIZE)
    const slots = (PAGE_SIZE - list.offset) / ENTRY
    const entries = new Uint8Array(Math.min(wanted, slots) * ENTRY)
    if (!memory.read([{ ...list, length: entries.length }], entries))
      return CompletionStatus.DATA_TRANSFER_ERROR
    const view = new DataView(entries.buffer)
    // The last slot leads to the next list page when not all entries fit.
    const data = wanted > slots ? slots - 1 : wanted
    for (let i = 0; i < data; i++) {
      const { page, offset } = addressAt(view, i * ENTRY)
      if (offset !== 0) return CompletionStatus.PRP_OFFSET_INVALID
      const here = Math.min(rest, PAGE_SIZE)
      pieces.add(page, here)
      rest -= here
    }
    if (rest === 0) return pieces.list
    list = addressAt(view, data * ENTRY)
    if (list.offset !== 0) return CompletionStatus.PRP_OFFSET_INVALID
  }
}

class Pieces {
  readonly list: { page: number; offset: number; length: number }[]
  #next: number

  constructor({ page, offset }: DmaAddress, length: number) {
    this.list = [{ page, offset, length }]
    this.#next = offset + length === PAGE_SIZE ? page + 1 : -1
  }

  /** `length` bytes from the start of a page. */
  add(page: number, length: number): void {
    const last = this.list.at(-1)
    if (last !== undefined && page === this.#next) last.length += length
    else this.list.push({ page, offset: 0, length })
    this.#next = page + 1
  }
}
