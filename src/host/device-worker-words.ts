/**
 * The words through which a device worker and the supervisor see each other. The worker does DMA, looks at
 * registers and signals eventfds in steps, between `enter` and `leave` (worker-gate.ts). The supervisor
 * waits for the step under way before it answers a call that took away what the step may be using, and
 * holds the worker up while it changes what both use.
 */
export const DeviceWord = {
  /** Odd while a step is under way; counts up at its beginning and its end. */
  STEP: 0,
  /** The supervisor waits for the end of the step. */
  AWAITED: 1,
  /** Not 0: no step may begin. */
  HELD: 2,
  /** Counts resets of the function. A step that was begun before one must not go on. */
  RESETS: 3,
  /** Counts reasons to look at the registers now. */
  WAKE: 4,
  /** 1: COMMAND permits DMA. */
  BUS_MASTER: 5,
  /** Which kind of interrupt is enabled: an index into INTERRUPT_KINDS. */
  INTERRUPTS: 6,
  /** Counts changes of what DMA translates through. */
  TRANSLATION: 7,
  /** Counts occasions at which memory of clients has moved. */
  MOVED: 8,
  /** Where BAR 0 is in this process, low and high half; 0 while nobody has mapped it. */
  BAR_LOW: 9,
  BAR_HIGH: 10,
  /** 1 while the worker has asked something of the supervisor. */
  ASKED: 11,
  /** 1: somebody watches what the device does (worker-reports.ts). */
  OBSERVED: 12,
  /** How many reports have been written, and read. */
  REPORTS_WRITTEN: 13,
  REPORTS_READ: 14,
  /** From here on, for each vector a descriptor to signal, or -1. */
  VECTORS: 16,
} as const

export const MAX_VECTORS = 64
export const DEVICE_WORDS = DeviceWord.VECTORS + MAX_VECTORS

export const INTERRUPT_KINDS = ['none', 'intx', 'msi', 'msix'] as const

/** How often the extents whose frames hash to a slot have been given up. */
export const FRAME_SLOTS = 1 << 14
export const frameSlot = (firstFrame: number): number => (firstFrame >>> 6) & (FRAME_SLOTS - 1)

/** What a worker can ask (worker-requests.ts). */
export const RequestKind = {
  /** Message to be posted: the table that DMA goes through. Answer: 1, or 0 if there is no single one. */
  TABLE: 1,
  /** Where a frame is. Answer: see `FrameAnswer`. */
  FRAME: 2,
  /** DMA of at most TRANSFER_BYTES, by the supervisor. Answer: 1 if all was moved. */
  TRANSFER: 3,
  MESSAGE: 4,
  LINE: 5,
  /** The worker has failed; its words are in the data. */
  FAILED: 6,
} as const

/** Reports that can wait; each is page, byte in it, length, and 1 for a write. */
export const MAX_REPORTS = 64
export const REPORT_NUMBERS = 4

export const TRANSFER_BYTES = 0x10000

/** Doubles of a request: the kind, then arguments; of an answer: the values. */
export const REQUEST_NUMBERS = 8

/** An answer to FRAME, one number each: a part of the extent around it (engine/frames.ts). */
export const FrameAnswer = {
  /** First frame of the extent. */
  EXTENT: 0,
  CONTIGUITY: 1,
  /** The part: so many pages from this one of the extent on; 0 pages if only the supervisor reaches it. */
  FIRST_PAGE: 2,
  PAGES: 3,
  /** Descriptor of a memory, and where in it the first page of the part is. */
  DESCRIPTOR: 4,
  ADDRESS: 5,
  /** What the slot of the extent counts. */
  GIVEN: 6,
  /** The process whose memory it is, 0 where that is not to be used. */
  PROCESS: 7,
} as const

/** What the worker gets when it is started. */
export interface DeviceWorkerShares {
  readonly words: Int32Array
  readonly frameSlots: Int32Array
  /** REQUEST_NUMBERS doubles, then TRANSFER_BYTES of data. */
  readonly request: SharedArrayBuffer
  readonly reports: SharedArrayBuffer
  /** Writing to it gets the supervisor's attention. */
  readonly attention: number
  /** BAR 0 while nobody has mapped it. */
  readonly bar: SharedArrayBuffer
}
