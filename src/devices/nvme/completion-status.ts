/**
 * Status of a completion (06 §14.4, §14.5): bits 7:0 code, 10:8 type, 14 "do not retry". All errors here
 * carry the last.
 */
const DO_NOT_RETRY = 1 << 14
const COMMAND_SPECIFIC = 1 << 8
const MEDIA = 2 << 8

const generic = (code: number): number => code | DO_NOT_RETRY
const specific = (code: number): number => code | COMMAND_SPECIFIC | DO_NOT_RETRY
const media = (code: number): number => code | MEDIA | DO_NOT_RETRY

export const CompletionStatus = {
  SUCCESS: 0,
  INVALID_OPCODE: generic(0x01),
  INVALID_FIELD: generic(0x02),
  DATA_TRANSFER_ERROR: generic(0x04),
  INTERNAL_ERROR: generic(0x06),
  /** The one who aborted knows. */
  ABORT_REQUESTED: generic(0x07),
  INVALID_NAMESPACE: generic(0x0b),
  COMMAND_SEQUENCE_ERROR: generic(0x0c),
  PRP_OFFSET_INVALID: generic(0x13),
  LBA_OUT_OF_RANGE: generic(0x80),
  CAPACITY_EXCEEDED: generic(0x81),
  COMPLETION_QUEUE_INVALID: specific(0x00),
  INVALID_QUEUE_IDENTIFIER: specific(0x01),
  INVALID_QUEUE_SIZE: specific(0x02),
  ASYNC_EVENT_LIMIT_EXCEEDED: specific(0x05),
  INVALID_INTERRUPT_VECTOR: specific(0x08),
  INVALID_LOG_PAGE: specific(0x09),
  INVALID_QUEUE_DELETION: specific(0x0c),
  FEATURE_NOT_SAVEABLE: specific(0x0d),
  WRITE_TO_READ_ONLY_RANGE: specific(0x82),
  WRITE_FAULT: media(0x80),
  UNRECOVERED_READ_ERROR: media(0x81),
} as const
