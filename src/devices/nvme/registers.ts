/** The controller registers of BAR0 (06 §14.2): where they stand, what is constant, what the fields mean. */

export const BAR_LENGTH = 0x4000

export const Register = {
  CAP: 0x00,
  VS: 0x08,
  INTMS: 0x0c,
  INTMC: 0x10,
  CC: 0x14,
  CSTS: 0x1c,
  NSSR: 0x20,
  AQA: 0x24,
  ASQ: 0x28,
  ACQ: 0x30,
  CMBLOC: 0x38,
  CMBSZ: 0x3c,
} as const

export const DOORBELLS = 0x1000
export const MSIX_TABLE = 0x2000
export const MSIX_PENDING = 0x3000
export const VECTORS = 33
/** Beside the admin queue. */
export const IO_QUEUES = 32

/** Largest queue, as CAP.MQES counts: entries less one. */
export const MAX_QUEUE_ENTRIES = 0x7ff

const CAP_LOW = 0x1e01_07ff
const CAP_HIGH = 0x0000_0020
export const VERSION_1_4 = 0x0001_0400

/** Registers, as 32-bit words of memory that clients may have mapped (06 §12). */
export interface RegisterMemory {
  /** One aligned load. */
  load(offset: number): number
  /** One aligned store. */
  store(offset: number, value: number): void
}

/** Puts everything to its value after a reset: zero but for the constants. */
export const resetRegisters = (registers: RegisterMemory): void => {
  for (let offset = 0; offset < BAR_LENGTH; offset += 4) registers.store(offset, 0)
  publishConstants(registers)
}

/** A client can overwrite what it maps; constants are put back (06 §12.1). */
export const publishConstants = (registers: RegisterMemory): void => {
  publish(registers, Register.CAP, CAP_LOW)
  publish(registers, Register.CAP + 4, CAP_HIGH)
  publish(registers, Register.VS, VERSION_1_4)
  publish(registers, Register.NSSR, 0)
  publish(registers, Register.CMBLOC, 0)
  publish(registers, Register.CMBSZ, 0)
}

/** Stores only where something else stands: a page that clients read stays in their caches. */
export const publish = (registers: RegisterMemory, offset: number, value: number): void => {
  if (registers.load(offset) !== value) registers.store(offset, value)
}

export const submissionDoorbell = (queue: number): number => DOORBELLS + 8 * queue
export const completionDoorbell = (queue: number): number => DOORBELLS + 8 * queue + 4

const field = (value: number, high: number, low: number): number =>
  (value >>> low) & (2 ** (high - low + 1) - 1)

/** Fields of CC. */
export const Configuration = {
  enable: (cc: number): boolean => (cc & 1) !== 0,
  commandSet: (cc: number): number => field(cc, 6, 4),
  pageSize: (cc: number): number => field(cc, 10, 7),
  arbitration: (cc: number): number => field(cc, 13, 11),
  shutdown: (cc: number): number => field(cc, 15, 14),
  submissionEntrySize: (cc: number): number => field(cc, 19, 16),
  completionEntrySize: (cc: number): number => field(cc, 23, 20),
} as const

/** Bits of CSTS. */
export const Status = {
  READY: 1 << 0,
  FATAL: 1 << 1,
  SHUTDOWN_COMPLETE: 2 << 2,
} as const

/** Fields of AQA: entries, not entries less one. */
export const adminSubmissionEntries = (aqa: number): number => field(aqa, 11, 0) + 1
export const adminCompletionEntries = (aqa: number): number => field(aqa, 27, 16) + 1
