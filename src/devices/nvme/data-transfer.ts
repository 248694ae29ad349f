/** Moving the data of a command between the controller and where its PRPs point (06 §14.5). */
import type { Command } from './command.ts'
import { CompletionStatus } from './completion-status.ts'
import type { DeviceMemory } from './device-memory.ts'
import { prpPieces } from './prp.ts'

/** To the client; the status. */
export const sendData = (memory: DeviceMemory, command: Command, bytes: Uint8Array): number => {
  const pieces = prpPieces(memory, command.prp1, command.prp2, bytes.length)
  if (typeof pieces === 'number') return pieces
  return memory.write(pieces, bytes)
    ? CompletionStatus.SUCCESS
    : CompletionStatus.DATA_TRANSFER_ERROR
}

/** From the client; the status. */
export const receiveData = (memory: DeviceMemory, command: Command, into: Uint8Array): number => {
  const pieces = prpPieces(memory, command.prp1, command.prp2, into.length)
  if (typeof pieces === 'number') return pieces
  return memory.read(pieces, into) ? CompletionStatus.SUCCESS : CompletionStatus.DATA_TRANSFER_ERROR
}
