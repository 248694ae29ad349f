/** The admin command set (06 §14.6). */
import type { AsyncEvents } from './async-events.ts'
import type { Command } from './command.ts'
import { CompletionStatus } from './completion-status.ts'
import { sendData } from './data-transfer.ts'
import type { DeviceMemory } from './device-memory.ts'
import type { Features } from './features.ts'
import {
  activeNamespaces,
  type DiskIdentity,
  identifyController,
  identifyNamespace,
  MAX_TRANSFER,
  NAMESPACES,
  namespaceDescriptors,
} from './identify.ts'
import type { Image } from './image.ts'
import { LogPage, logPage, type Statistics } from './log-pages.ts'
import type { QueueSet } from './queue-set.ts'
import { CompletionQueue, SubmissionQueue } from './queues.ts'
import { Configuration, MAX_QUEUE_ENTRIES, type RegisterMemory, VECTORS } from './registers.ts'

const Opcode = {
  DELETE_SUBMISSION_QUEUE: 0x00,
  CREATE_SUBMISSION_QUEUE: 0x01,
  GET_LOG_PAGE: 0x02,
  DELETE_COMPLETION_QUEUE: 0x04,
  CREATE_COMPLETION_QUEUE: 0x05,
  IDENTIFY: 0x06,
  ABORT: 0x08,
  SET_FEATURES: 0x09,
  GET_FEATURES: 0x0a,
  ASYNC_EVENT_REQUEST: 0x0c,
} as const

const IdentifyStructure = {
  NAMESPACE: 0x00,
  CONTROLLER: 0x01,
  ACTIVE_NAMESPACES: 0x02,
  NAMESPACE_DESCRIPTORS: 0x03,
} as const

const ADMIN_QUEUE = 0
/** cdw11 of the Create commands. */
const CONTIGUOUS = 1
const INTERRUPTS_ENABLED = 2
/** cdw10 of Get Log Page. */
const RETAIN_EVENT = 1 << 15
const NOT_ABORTED = 1
const ALL_NAMESPACES = 0xffff_ffff
/** log2 of the bytes of an entry, as CC says them. */
const SUBMISSION_ENTRY_SHIFT = 6
const COMPLETION_ENTRY_SHIFT = 4

export interface AdminResources {
  readonly memory: DeviceMemory
  readonly registers: RegisterMemory
  readonly image: Image
  readonly identity: DiskIdentity
  readonly queues: QueueSet
  readonly features: Features
  readonly events: AsyncEvents
  readonly statistics: Statistics
  /** CC as it is now. */
  readonly configuration: number
  /** More than one vector can be told apart: MSI-X is active. */
  readonly manyVectors: boolean
  /** Completes an event request that was aborted. */
  completeAborted(commandId: number): void
}

export interface AdminAnswer {
  readonly status: number
  /** DW0 of the completion. */
  readonly result: number
}

const done = (result = 0): AdminAnswer => ({ status: CompletionStatus.SUCCESS, result })
const failed = (status: number): AdminAnswer => ({ status, result: 0 })

/** Undefined: it is not complete yet (an event request). */
export const adminCommand = (admin: AdminResources, command: Command): AdminAnswer | undefined => {
  if (command.hasUnsupportedFlags) return failed(CompletionStatus.INVALID_FIELD)
  switch (command.opcode) {
    case Opcode.DELETE_SUBMISSION_QUEUE:
      return failed(deleteSubmissionQueue(admin, command))
    case Opcode.CREATE_SUBMISSION_QUEUE:
      return failed(createSubmissionQueue(admin, command))
    case Opcode.GET_LOG_PAGE:
      return failed(getLogPage(admin, command))
    case Opcode.DELETE_COMPLETION_QUEUE:
      return failed(deleteCompletionQueue(admin, command))
    case Opcode.CREATE_COMPLETION_QUEUE:
      return failed(createCompletionQueue(admin, command))
    case Opcode.IDENTIFY:
      return failed(identify(admin, command))
    case Opcode.ABORT:
      return abort(admin, command)
    case Opcode.SET_FEATURES: {
      const answer = admin.features.set(command, admin.queues.hasIoQueues)
      checkTemperature(admin)
      return answer
    }
    case Opcode.GET_FEATURES:
      return admin.features.get(command)
    case Opcode.ASYNC_EVENT_REQUEST:
      if (!admin.events.request(command.id))
        return failed(CompletionStatus.ASYNC_EVENT_LIMIT_EXCEEDED)
      checkTemperature(admin)
      return undefined
    default:
      return failed(CompletionStatus.INVALID_OPCODE)
  }
}

const checkTemperature = ({ events, features }: AdminResources): void =>
  events.temperature(features.temperatureWarning, features.asyncEvents)

const deleteSubmissionQueue = ({ queues }: AdminResources, command: Command): number => {
  const id = command.dword(10) & 0xffff
  const queue = queues.submission.get(id)
  if (id === ADMIN_QUEUE || queue === undefined) return CompletionStatus.INVALID_QUEUE_IDENTIFIER
  queues.removeSubmission(queue)
  return CompletionStatus.SUCCESS
}

const deleteCompletionQueue = ({ queues }: AdminResources, command: Command): number => {
  const id = command.dword(10) & 0xffff
  const queue = queues.completion.get(id)
  if (id === ADMIN_QUEUE || queue === undefined) return CompletionStatus.INVALID_QUEUE_IDENTIFIER
  if (queue.users > 0) return CompletionStatus.INVALID_QUEUE_DELETION
  queues.completion.delete(id)
  return CompletionStatus.SUCCESS
}

const createSubmissionQueue = (admin: AdminResources, command: Command): number => {
  const { queues, features, registers } = admin
  const id = command.dword(10) & 0xffff
  const completionId = command.dword(11) >>> 16
  const completions = queues.completion.get(completionId)
  if (completionId === ADMIN_QUEUE || completions === undefined)
    return CompletionStatus.COMPLETION_QUEUE_INVALID
  if (id === ADMIN_QUEUE || id > features.submissionQueues || queues.submission.has(id))
    return CompletionStatus.INVALID_QUEUE_IDENTIFIER
  const { submissionEntrySize } = Configuration
  if (submissionEntrySize(admin.configuration) !== SUBMISSION_ENTRY_SHIFT)
    return CompletionStatus.INVALID_QUEUE_SIZE
  const refused = checkRing(command)
  if (refused !== undefined) return refused
  if ((command.dword(11) & CONTIGUOUS) === 0) return CompletionStatus.INVALID_FIELD
  queues.addSubmission(new SubmissionQueue(registers, ringOf(command, id), completions))
  return CompletionStatus.SUCCESS
}

const createCompletionQueue = (admin: AdminResources, command: Command): number => {
  const { queues, features, registers } = admin
  const id = command.dword(10) & 0xffff
  if (id === ADMIN_QUEUE || id > features.completionQueues || queues.completion.has(id))
    return CompletionStatus.INVALID_QUEUE_IDENTIFIER
  const { completionEntrySize } = Configuration
  if (completionEntrySize(admin.configuration) !== COMPLETION_ENTRY_SHIFT)
    return CompletionStatus.INVALID_QUEUE_SIZE
  const refused = checkRing(command)
  if (refused !== undefined) return refused
  const vector = command.dword(11) >>> 16
  if (vector >= VECTORS || (!admin.manyVectors && vector !== 0))
    return CompletionStatus.INVALID_INTERRUPT_VECTOR
  if ((command.dword(11) & CONTIGUOUS) === 0) return CompletionStatus.INVALID_FIELD
  const interrupts = (command.dword(11) & INTERRUPTS_ENABLED) !== 0
  const ring = ringOf(command, id)
  queues.addCompletion(new CompletionQueue(registers, ring, interrupts ? vector : undefined))
  return CompletionStatus.SUCCESS
}

/** What is wrong with the size or the place of a queue. */
const checkRing = (command: Command): number | undefined => {
  const size = command.dword(10) >>> 16
  if (size === 0 || size > MAX_QUEUE_ENTRIES) return CompletionStatus.INVALID_QUEUE_SIZE
  if (command.prp1.offset !== 0) return CompletionStatus.PRP_OFFSET_INVALID
  return undefined
}

const ringOf = (command: Command, id: number) => ({
  id,
  page: command.prp1.page,
  entries: (command.dword(10) >>> 16) + 1,
})

const identify = (admin: AdminResources, command: Command): number => {
  const { identity, image, memory } = admin
  const { namespace } = command
  const isNamespace = namespace >= 1 && namespace <= NAMESPACES
  switch (command.dword(10) & 0xff) {
    case IdentifyStructure.CONTROLLER:
      return sendData(memory, command, identifyController(identity))
    case IdentifyStructure.NAMESPACE:
      if (!isNamespace) return CompletionStatus.INVALID_NAMESPACE
      return sendData(memory, command, identifyNamespace(identity, image))
    case IdentifyStructure.ACTIVE_NAMESPACES:
      if (namespace >= ALL_NAMESPACES - 1) return CompletionStatus.INVALID_NAMESPACE
      return sendData(memory, command, activeNamespaces(namespace))
    case IdentifyStructure.NAMESPACE_DESCRIPTORS:
      if (!isNamespace) return CompletionStatus.INVALID_NAMESPACE
      return sendData(memory, command, namespaceDescriptors(identity))
    default:
      return CompletionStatus.INVALID_FIELD
  }
}

const getLogPage = (admin: AdminResources, command: Command): number => {
  const { statistics, features, events, memory } = admin
  const id = command.dword(10) & 0xff
  const page = logPage(id, statistics, features.temperatureWarning)
  if (page === undefined) return CompletionStatus.INVALID_LOG_PAGE
  const { namespace } = command
  if (id === LogPage.HEALTH && namespace !== 0 && namespace !== ALL_NAMESPACES)
    return CompletionStatus.INVALID_FIELD
  const dwords = (command.dword(11) & 0xffff) * 2 ** 16 + (command.dword(10) >>> 16) + 1
  if (dwords * 4 > MAX_TRANSFER) return CompletionStatus.INVALID_FIELD
  const offset = command.dword(13) * 2 ** 32 + command.dword(12)
  if (offset % 4 !== 0 || offset > page.length) return CompletionStatus.INVALID_FIELD
  if ((command.dword(10) & RETAIN_EVENT) === 0) {
    events.logPageRead(id)
    checkTemperature(admin)
  }
  // More bytes than the page has: those behind it are not written (06 §14.9).
  const part = page.subarray(offset, offset + dwords * 4)
  return part.length === 0 ? CompletionStatus.SUCCESS : sendData(memory, command, part)
}

/** Only event requests are ever outstanding: all other commands complete before the next is looked at. */
const abort = ({ queues, events, completeAborted }: AdminResources, command: Command) => {
  const queue = command.dword(10) & 0xffff
  const commandId = command.dword(10) >>> 16
  if (!queues.submission.has(queue)) return failed(CompletionStatus.INVALID_FIELD)
  if (queue !== ADMIN_QUEUE || !events.abort(commandId)) return done(NOT_ABORTED)
  completeAborted(commandId)
  return done()
}
