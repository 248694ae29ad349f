/** A session in the playground: a machine, and what was named so far. Runs lines, tells what came of them. */
import { hex, iova } from '../../abi/brands.ts'
import type { FileKind, Ioctl } from '../../abi/ioctl.ts'
import { iommu_iova_range } from '../../abi/iommufd/ioas.ts'
import { type Fields, formatStruct } from '../../abi/layout.ts'
import { VFIO_DEVICE_GET_REGION_INFO } from '../../abi/vfio/region.ts'
import type { Context } from '../../engine/context.ts'
import type { EngineEvent } from '../../engine/events.ts'
import { Refusal } from '../../engine/reason.ts'
import { Iommufd } from '../../library/iommufd.ts'
import { IommufdError } from '../../library/iommufd-error.ts'
import type { Buffer } from '../../library/program-memory.ts'
import type { SimulatedFile, StructIoctl } from '../../library/simulated-file.ts'
import { ScratchCommand, ScratchRegister } from '../../vfio/scratch-device.ts'
import { shortName } from '../model/short-names.ts'
import {
  fieldValue,
  inputFields,
  ioctlCalled,
  numberOf,
  rangesOf,
  type Variables,
} from './call-values.ts'
import { CommandError, type ParsedCommand, parseCommand } from './command-line.ts'
import {
  type PlaygroundConfig,
  type PlaygroundMachine,
  playgroundMachine,
} from './playground-machine.ts'

/** What came of a line: what to print, and whether the call failed (or the line made no sense). */
export interface Outcome {
  readonly text: string
  readonly failed: boolean
}

const said = (text: string): Outcome => ({ text, failed: false })

/** Elements that an array has room for where the call fills it. */
const ROOM = 32
const MOST_DMA = 1 << 20

export class Session {
  readonly #playground: PlaygroundMachine
  readonly #variables = new Map<string, bigint>()
  readonly #buffers = new Map<string, Buffer>()
  /** Open files with what they are, the latest last. */
  readonly #files: {
    readonly file: SimulatedFile
    readonly kind: FileKind
    readonly name: string
  }[] = []
  readonly #contexts = new Map<number, Context>()
  readonly #emit: (event: EngineEvent) => void

  constructor(config: PlaygroundConfig, observe: (event: EngineEvent) => void) {
    this.#playground = playgroundMachine(config)
    this.#playground.machine.on(observe)
    this.#emit = observe
  }

  /** Names that values go by, for completion. */
  get variables(): Variables {
    return this.#variables
  }

  context(number: number): Context | undefined {
    return this.#contexts.get(number)
  }

  /** Never throws: a line that makes no sense has an outcome as well. */
  run(line: string): Outcome {
    try {
      const command = parseCommand(line)
      return command === undefined ? said('') : this.#execute(command)
    } catch (error) {
      if (error instanceof CommandError || error instanceof RangeError)
        return { text: error.message, failed: true }
      if (error instanceof IommufdError) return failure(error.reason)
      throw error
    }
  }

  #execute(command: ParsedCommand): Outcome {
    switch (command.name) {
      case 'open':
        return this.#open(command)
      case 'close':
        return this.#close(command)
      case 'memory':
        return this.#memory(command)
      case 'fill':
        return this.#fill(command)
      case 'show':
        return this.#show(command)
      case 'dma':
        return this.#dma(command)
      case 'scratch':
        return this.#scratch(command)
      default:
        return this.#ioctl(command)
    }
  }

  // --- files

  #open({ words: [path = ''], result }: ParsedCommand): Outcome {
    const { machine } = this.#playground
    const { engine } = machine
    if (engine.node(path) === undefined)
      throw new CommandError(
        `There is no ${path === '' ? 'file without a name' : path}; there are ${engine
          .nodes()
          .map((node) => node.path)
          .join(', ')}.`,
      )
    engine.callArrives()
    const opened = isIommufd(path) ? machine.open(path) : openResult(() => machine.openFile(path))
    this.#emit({
      type: 'call',
      call: engine.currentCall,
      context: opened instanceof Iommufd ? opened.context.number : undefined,
      pid: 1,
      tid: 1,
      operation: 'open',
      file: path,
      result: opened instanceof Refusal ? opened : opened.fd,
    })
    engine.callEnds()
    if (opened instanceof Refusal) return failure(opened)
    if (opened instanceof Iommufd) this.#contexts.set(opened.context.number, opened.context)
    return this.#keepFile(opened, kindOf(path), result)
  }

  #keepFile(file: SimulatedFile, kind: FileKind, result: string | undefined): Outcome {
    const name = result ?? `fd${file.fd}`
    this.#files.push({ file, kind, name })
    this.#variables.set(name, BigInt(file.fd))
    return said(`= ${file.fd}${result === undefined ? `  (named ${name})` : ''}`)
  }

  #close({ words: [name = ''] }: ParsedCommand): Outcome {
    const index = this.#files.findLastIndex((each) => each.name === name)
    const [closed] = index < 0 ? [] : this.#files.splice(index, 1)
    if (closed === undefined) throw new CommandError(`No open file is called '${name}'.`)
    closed.file.close()
    this.#variables.delete(name)
    return said('= 0')
  }

  #fileFor({ target, name }: ParsedCommand, ioctl: Ioctl): SimulatedFile {
    const fits = ioctl.file === 'container' ? 'iommufd' : ioctl.file
    const found = this.#files.findLast((each) =>
      target === undefined ? each.kind === fits : each.name === target,
    )
    if (found !== undefined) return found.file
    throw new CommandError(
      target === undefined
        ? `${name} is made on ${ONE_OF[fits]}, and none is open.`
        : `No open file is called '${target}'.`,
    )
  }

  // --- calls

  #ioctl(command: ParsedCommand): Outcome {
    const ioctl = ioctlCalled(command.name)
    if (ioctl === undefined)
      throw new CommandError(`There is no call named ${command.name}. Type help for what there is.`)
    const file = this.#fileFor(command, ioctl)
    return hasStruct(ioctl)
      ? this.#structCall(command, ioctl, file)
      : this.#valueCall(command, ioctl, file)
  }

  #valueCall(command: ParsedCommand, ioctl: Ioctl, file: SimulatedFile): Outcome {
    const [word = '0'] = command.words
    const value = (): bigint => numberOf(word, this.#variables, ioctl.values)
    const argument =
      ioctl.argument === 'string'
        ? new TextEncoder().encode(`${word.replaceAll('"', '')}\0`)
        : ioctl.argument === 'int-pointer'
          ? new Uint8Array(Int32Array.of(Number(value())).buffer)
          : value()
    const result = file.ioctl(ioctl.request, argument)
    if (ioctl.name !== 'VFIO_GROUP_GET_DEVICE_FD') return said(`= ${result}`)
    return this.#keepFile(this.#playground.machine.fileOf(result), 'device', command.result ?? word)
  }

  #structCall(command: ParsedCommand, ioctl: StructIoctl<Fields>, file: SimulatedFile): Outcome {
    const { struct } = ioctl
    const fields = inputFields(struct)
    const args: Record<string, number | bigint> = {}
    const arrays: Record<string, Uint8Array> = {}
    for (const [name, text] of command.fields) {
      const field = fields.find((each) => each.name === name)
      if (field === undefined)
        throw new CommandError(
          `${shortName(ioctl.name)} has no field ${name}; it has ${fields.map((each) => each.name).join(', ')}.`,
        )
      if (text.startsWith('[')) arrays[name] = rangesOf(text)
      else args[name] = fieldValue(field, text, this.#variables)
    }
    const filled = this.#fillRanges(ioctl, args, arrays)
    const { answer, result, refusal } = file.attempt(ioctl, args, arrays)
    const written: Readonly<Record<string, unknown>> = answer
    const outputs = struct.fields.filter(
      ({ direction, role }) => direction !== 'in' && role === undefined,
    )
    const shown = Object.fromEntries(
      outputs
        .filter(({ name, direction }) => direction === 'out' || args[name] !== written[name])
        .map(({ name }) => [name, written[name]]),
    )
    const text = Object.keys(shown).length === 0 ? '' : `  ${formatStruct(struct, shown)}`
    if (refusal !== undefined) return failure(refusal)
    const named = outputs.find(({ direction }) => direction === 'out') ?? outputs[0]
    const value = named === undefined ? result : written[named.name]
    if (command.result !== undefined && (typeof value === 'number' || typeof value === 'bigint'))
      this.#variables.set(command.result, BigInt(value))
    return said(`= ${result}${text}${filled ? rangesText(arrays, written) : ''}`)
  }

  /** Arrays of ranges that the call reads or fills; true where it fills one. */
  #fillRanges(
    ioctl: Ioctl,
    args: Record<string, number | bigint>,
    arrays: Record<string, Uint8Array>,
  ): boolean {
    const given = arrays['allowed_iovas']
    if (given !== undefined) args['num_iovas'] ??= given.length / iommu_iova_range.size
    if (ioctl.name !== 'IOMMU_IOAS_IOVA_RANGES' || args['allowed_iovas'] !== undefined) return false
    args['num_iovas'] ??= ROOM
    arrays['allowed_iovas'] = new Uint8Array(Number(args['num_iovas']) * iommu_iova_range.size)
    return true
  }

  // --- memory and devices

  #memory({ words: [size = '4K'], result }: ParsedCommand): Outcome {
    const length = Number(numberOf(size, this.#variables))
    const buffer = this.#playground.machine.memory.allocate(length)
    const name = result ?? `buffer${this.#buffers.size}`
    this.#buffers.set(name, buffer)
    this.#variables.set(name, buffer.address)
    return said(`= ${hex(buffer.address)}${result === undefined ? `  (named ${name})` : ''}`)
  }

  #bufferCalled(name: string): Buffer {
    const buffer = this.#buffers.get(name)
    if (buffer === undefined) throw new CommandError(`No memory is called '${name}'.`)
    return buffer
  }

  #fill({ words: [name = '', text = ''] }: ParsedCommand): Outcome {
    const { bytes } = this.#bufferCalled(name)
    bytes.set(new TextEncoder().encode(text.replaceAll('"', '')).subarray(0, bytes.length))
    return said('')
  }

  #show({ words: [name = ''] }: ParsedCommand): Outcome {
    return said(dump(this.#bufferCalled(name).bytes.subarray(0, 64)))
  }

  /** `dma read|write IOVA LENGTH`: the PCI function does it, by its own translation. */
  #dma({ words: [how = '', at = '', length = '16'] }: ParsedCommand): Outcome {
    if (how !== 'read' && how !== 'write')
      throw new CommandError('Say dma read IOVA LENGTH, or dma write IOVA LENGTH.')
    const bytes = this.#transferOf(length)
    const where = iova(numberOf(at, this.#variables))
    if (how === 'write') bytes.fill(0x5a)
    const { dma } = this.#playground
    const stopped = how === 'write' ? dma.write(where, bytes) : dma.read(where, bytes)
    if (stopped !== undefined)
      return { text: `stopped at ${hex(stopped.iova)}: ${stopped.fault}`, failed: true }
    return said(how === 'read' ? dump(bytes.subarray(0, 64)) : `wrote ${bytes.length} bytes`)
  }

  #transferOf(length: string): Uint8Array {
    const bytes = Number(numberOf(length, this.#variables))
    if (!(bytes > 0 && bytes <= MOST_DMA))
      throw new CommandError('DMA moves at least 1 byte and at most 1 MiB at a time here.')
    return new Uint8Array(bytes)
  }

  /** `scratch DEVICE read|write|pin|unpin IOVA LENGTH`: by the registers of the scratch device. */
  #scratch({ words: [name = '', how = '', at = '0', length = '64'] }: ParsedCommand): Outcome {
    const file = this.#files.findLast((each) => each.name === name && each.kind === 'device')?.file
    if (file === undefined) throw new CommandError(`No open device is called '${name}'.`)
    const command = { read: 1, write: 2, pin: 3, unpin: 5 }[how]
    if (command === undefined)
      throw new CommandError('Say scratch DEVICE read|write|pin|unpin IOVA LENGTH.')
    const { offset } = file.call(VFIO_DEVICE_GET_REGION_INFO, { index: 0 })
    const store = (register: number, value: Uint8Array): void => {
      file.write(offset + BigInt(register), value)
    }
    const bytes = Number(numberOf(length, this.#variables))
    const where = numberOf(at, this.#variables)
    store(ScratchRegister.DMA_IOVA, new Uint8Array(BigUint64Array.of(where).buffer))
    store(ScratchRegister.DMA_LENGTH, new Uint8Array(Uint32Array.of(bytes).buffer))
    store(ScratchRegister.COMMAND, new Uint8Array(Uint32Array.of(command).buffer))
    const [status = 0] = new Uint32Array(
      file.read(offset + BigInt(ScratchRegister.STATUS), 4).slice().buffer,
    )
    if (status !== 0) return { text: `the device reports errno ${status}`, failed: true }
    if (command !== ScratchCommand.READ) return said('done')
    return said(dump(file.read(offset + BigInt(ScratchRegister.BUFFER), Math.min(64, bytes))))
  }
}

const ONE_OF: Readonly<Record<FileKind, string>> = {
  iommufd: 'an iommufd (open /dev/iommu)',
  container: 'a container',
  group: 'a group (open /dev/vfio/7)',
  device: 'a device (open /dev/vfio/devices/vfio0, or GROUP_GET_DEVICE_FD)',
  migration: 'a migration file',
}

const isIommufd = (path: string): path is '/dev/iommu' | '/dev/vfio/vfio' =>
  path === '/dev/iommu' || path === '/dev/vfio/vfio'

const kindOf = (path: string): FileKind =>
  isIommufd(path) ? 'iommufd' : /^\/dev\/vfio\/(noiommu-)?\d+$/.test(path) ? 'group' : 'device'

const openResult = (open: () => SimulatedFile): SimulatedFile | Refusal => {
  try {
    return open()
  } catch (error) {
    if (error instanceof IommufdError) return error.reason
    throw error
  }
}

const hasStruct = (ioctl: Ioctl): ioctl is StructIoctl<Fields> => ioctl.struct !== undefined

const failure = (refusal: Refusal): Outcome => ({
  text: `${refusal.kind.errno}: ${refusal.say()}.${refusal.kind.advice === undefined ? '' : `\n${refusal.kind.advice}`}`,
  failed: true,
})

const rangesText = (
  { allowed_iovas: array }: Record<string, Uint8Array>,
  { num_iovas: count }: Readonly<Record<string, unknown>>,
): string => {
  if (array === undefined || typeof count !== 'number') return ''
  const lines: string[] = []
  for (let index = 0; index < count; index++) {
    const { start, last } = iommu_iova_range.decode(
      array.subarray(index * iommu_iova_range.size, (index + 1) * iommu_iova_range.size),
    )
    lines.push(`\n    ${hex(start)} - ${hex(last)}`)
  }
  return lines.join('')
}

/** Text where it is text, else bytes. */
const dump = (bytes: Uint8Array): string => {
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1
  const used = bytes.subarray(0, end)
  if (end === 0) return '(zeroes)'
  if (used.every((byte) => byte >= 0x20 && byte < 0x7f))
    return JSON.stringify(new TextDecoder().decode(used))
  const shown = bytes.subarray(0, Math.ceil(end / 16) * 16)
  return Array.from(shown, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
