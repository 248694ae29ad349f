/**
 * Memory as the controller reaches it by DMA. Addresses are page number and byte, both exact in a double:
 * a queue of commands is worked off without a bigint.
 */

export const PAGE_SIZE = 4096

export interface DmaAddress {
  /** IOVA in units of 4096 bytes. */
  readonly page: number
  /** Byte in the page. */
  readonly offset: number
}

/** `length` bytes from an address on; may span pages. */
export interface DmaPiece extends DmaAddress {
  readonly length: number
}

export interface DeviceMemory {
  /** COMMAND bit 2: while it is off there is no DMA. */
  readonly busMaster: boolean
  /** Fills `into` from the pieces in order; false where one does not answer, with what is before it read. */
  read(pieces: readonly DmaPiece[], into: Uint8Array): boolean
  /** Empties `bytes` into the pieces in order; false where one does not answer. */
  write(pieces: readonly DmaPiece[], bytes: Uint8Array): boolean
}

/** Of a 64-bit little-endian address at byte `at`. */
export const addressAt = (view: DataView, at: number): DmaAddress => {
  const low = view.getUint32(at, true)
  return { page: view.getUint32(at + 4, true) * 2 ** 20 + (low >>> 12), offset: low & 0xfff }
}
