/** The NVM command set (06 §14.11). Each function returns the status of the completion. */
import type { Command } from './command.ts'
import { CompletionStatus } from './completion-status.ts'
import { receiveData, sendData } from './data-transfer.ts'
import type { DeviceMemory } from './device-memory.ts'
import { MAX_TRANSFER, NAMESPACES } from './identify.ts'
import { BLOCK_SIZE, type Image, type ImageFailure } from './image.ts'
import type { Statistics } from './log-pages.ts'

const Opcode = {
  FLUSH: 0x00,
  WRITE: 0x01,
  READ: 0x02,
  WRITE_ZEROES: 0x08,
  DATASET_MANAGEMENT: 0x09,
} as const

const FORCE_UNIT_ACCESS = 1 << 30
/** Write Zeroes, cdw12. */
const DEALLOCATE = 1 << 25
/** Dataset Management, cdw11. */
const ATTRIBUTE_DEALLOCATE = 1 << 2
const DSM_RANGE_BYTES = 16
const ALL_NAMESPACES = 0xffff_ffff

export interface IoResources {
  readonly memory: DeviceMemory
  readonly image: Image
  readonly statistics: Statistics
  /** MAX_TRANSFER bytes for the data of the command being worked on. */
  readonly buffer: Uint8Array
  /** Feature 0x06: while false a write is complete when it is on the medium. */
  readonly writeCacheEnabled: boolean
}

export const ioCommand = (io: IoResources, command: Command): number => {
  if (command.hasUnsupportedFlags) return CompletionStatus.INVALID_FIELD
  switch (command.opcode) {
    case Opcode.FLUSH:
      return flush(io, command)
    case Opcode.WRITE:
      return write(io, command)
    case Opcode.READ:
      return read(io, command)
    case Opcode.WRITE_ZEROES:
      return writeZeroes(io, command)
    case Opcode.DATASET_MANAGEMENT:
      return datasetManagement(io, command)
    default:
      return CompletionStatus.INVALID_OPCODE
  }
}

const isNamespace = (id: number): boolean => id >= 1 && id <= NAMESPACES

const flush = ({ image }: IoResources, { namespace }: Command): number => {
  if (!isNamespace(namespace) && namespace !== ALL_NAMESPACES)
    return CompletionStatus.INVALID_NAMESPACE
  return statusOf(image.flush(), 'write')
}

/** The byte range of Read, Write and Write Zeroes, or the status of what is wrong with it. */
const range = (
  { image }: IoResources,
  command: Command,
  limit: number,
): { position: number; length: number } | number => {
  if (!isNamespace(command.namespace)) return CompletionStatus.INVALID_NAMESPACE
  const count = (command.dword(12) & 0xffff) + 1
  if (count * BLOCK_SIZE > limit) return CompletionStatus.INVALID_FIELD
  const first = command.firstBlock
  if (first + count > image.blocks) return CompletionStatus.LBA_OUT_OF_RANGE
  return { position: first * BLOCK_SIZE, length: count * BLOCK_SIZE }
}

const read = (io: IoResources, command: Command): number => {
  const blocks = range(io, command, MAX_TRANSFER)
  if (typeof blocks === 'number') return blocks
  const bytes = io.buffer.subarray(0, blocks.length)
  const failure = io.image.read(blocks.position, bytes)
  if (failure !== undefined) return statusOf(failure, 'read')
  io.statistics.reads += 1
  io.statistics.bytesRead += bytes.length
  return sendData(io.memory, command, bytes)
}

const write = (io: IoResources, command: Command): number => {
  const blocks = range(io, command, MAX_TRANSFER)
  if (typeof blocks === 'number') return blocks
  if (io.image.readOnly) return CompletionStatus.WRITE_TO_READ_ONLY_RANGE
  const bytes = io.buffer.subarray(0, blocks.length)
  const received = receiveData(io.memory, command, bytes)
  if (received !== CompletionStatus.SUCCESS) return received
  io.statistics.writes += 1
  io.statistics.bytesWritten += bytes.length
  return written(io, command, io.image.write(blocks.position, bytes))
}

const writeZeroes = (io: IoResources, command: Command): number => {
  const blocks = range(io, command, Number.POSITIVE_INFINITY)
  if (typeof blocks === 'number') return blocks
  if (io.image.readOnly) return CompletionStatus.WRITE_TO_READ_ONLY_RANGE
  const deallocate = (command.dword(12) & DEALLOCATE) !== 0
  return written(io, command, io.image.zero(blocks.position, blocks.length, deallocate))
}

/** Write-through where the command or the cache's switch asks for it. */
const written = (
  { image, writeCacheEnabled }: IoResources,
  command: Command,
  failure: ImageFailure | undefined,
): number => {
  if (failure !== undefined) return statusOf(failure, 'write')
  const through = !writeCacheEnabled || (command.dword(12) & FORCE_UNIT_ACCESS) !== 0
  return through ? statusOf(image.flush(), 'write') : CompletionStatus.SUCCESS
}

/** All ranges are checked before the first is deallocated. */
const datasetManagement = (io: IoResources, command: Command): number => {
  const { image } = io
  if (!isNamespace(command.namespace)) return CompletionStatus.INVALID_NAMESPACE
  const bytes = io.buffer.subarray(0, ((command.dword(10) & 0xff) + 1) * DSM_RANGE_BYTES)
  const received = receiveData(io.memory, command, bytes)
  if (received !== CompletionStatus.SUCCESS) return received
  if ((command.dword(11) & ATTRIBUTE_DEALLOCATE) === 0) return CompletionStatus.SUCCESS
  if (image.readOnly) return CompletionStatus.WRITE_TO_READ_ONLY_RANGE
  const ranges = rangesIn(bytes)
  if (ranges.some(({ first, count }) => first + count > image.blocks))
    return CompletionStatus.LBA_OUT_OF_RANGE
  for (const { first, count } of ranges) {
    const failure = image.zero(first * BLOCK_SIZE, count * BLOCK_SIZE, true)
    if (failure !== undefined) return statusOf(failure, 'write')
  }
  return io.writeCacheEnabled ? CompletionStatus.SUCCESS : statusOf(image.flush(), 'write')
}

/** Empty ranges are left out. */
const rangesIn = (bytes: Uint8Array): { first: number; count: number }[] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const ranges: { first: number; count: number }[] = []
  for (let at = 0; at < bytes.length; at += DSM_RANGE_BYTES) {
    const count = view.getUint32(at + 4, true)
    const first = view.getUint32(at + 12, true) * 2 ** 32 + view.getUint32(at + 8, true)
    if (count > 0) ranges.push({ first, count })
  }
  return ranges
}

const statusOf = (failure: ImageFailure | undefined, access: 'read' | 'write'): number => {
  switch (failure) {
    case undefined:
      return CompletionStatus.SUCCESS
    case 'read-only':
      return CompletionStatus.WRITE_TO_READ_ONLY_RANGE
    case 'no-space':
      return CompletionStatus.CAPACITY_EXCEEDED
    case 'input-output':
      return access === 'read'
        ? CompletionStatus.UNRECOVERED_READ_ERROR
        : CompletionStatus.WRITE_FAULT
  }
}
