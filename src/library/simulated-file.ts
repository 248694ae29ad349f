import { type Fd, fileOffset, type UserVa, userVa } from '../abi/brands.ts'
import type { FileKind, Ioctl } from '../abi/ioctl.ts'
import type { DecodedFields, Fields, Struct } from '../abi/layout.ts'
import { ioctlOn } from '../abi/tables.ts'
import type { OpenFile } from '../engine/file.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import { IommufdError } from './iommufd-error.ts'
import type { Buffer, ProgramMemory } from './program-memory.ts'
import type { EventListener, SimulatedMachine } from './simulated-machine.ts'

/** An ioctl whose argument is a structure. */
export type StructIoctl<F extends Fields> = Ioctl<F> & { readonly struct: Struct<F> }

/** Arrays that a structure points to, by the name of the field that has their address. */
export type ArraysOf<F extends Fields> = { readonly [Name in keyof F & string]?: Uint8Array }

/** What one ioctl did. */
export interface Attempt<F extends Fields> {
  /** The structure as it is after the call. */
  readonly answer: DecodedFields<F>
  /** The ioctl's own result, when it succeeded. */
  readonly result: number | undefined
  /** Why it failed, when it did. */
  readonly refusal: Refusal | undefined
}

/** Room for the structure of a call, in bytes; arrays get buffers of their own. */
const STRUCT_ROOM = 4096

/** An open file of the simulated machine. Every method makes the system call that a program makes. */
export class SimulatedFile {
  readonly machine: SimulatedMachine
  /** Its descriptor, for structures that name files by descriptor. */
  readonly fd: Fd
  readonly #file: OpenFile
  readonly #places: Buffer[] = []
  #open = true

  /** Use `SimulatedMachine.openFile`. */
  constructor(machine: SimulatedMachine, fd: Fd, file: OpenFile) {
    this.machine = machine
    this.fd = fd
    this.#file = file
  }

  /** The program's memory: allocate here what is to be mapped. */
  get memory(): ProgramMemory {
    return this.machine.memory
  }

  /** Tells of everything that happens on the machine. Returns how to stop that. */
  on(listener: EventListener): () => void {
    return this.machine.on(listener)
  }

  /**
   * Any ioctl that takes a structure, by its declaration: fields that are not given are zero, the size
   * word is filled in. `arrays` are placed in memory and their addresses put into the fields of those
   * names; they are changed in place. Returns the structure after the call; throws IommufdError where
   * Linux gives an errno.
   */
  call<F extends Fields>(
    ioctl: StructIoctl<F>,
    args: Partial<DecodedFields<F>>,
    arrays?: ArraysOf<F>,
  ): DecodedFields<F> {
    const { answer, refusal } = this.attempt(ioctl, args, arrays)
    if (refusal !== undefined) throw new IommufdError(ioctl.name, refusal)
    return answer
  }

  /** As `call`, but a refusal is returned. */
  attempt<F extends Fields>(
    ioctl: StructIoctl<F>,
    args: Partial<DecodedFields<F>>,
    arrays?: ArraysOf<F>,
  ): Attempt<F> {
    const { struct } = ioctl
    const bytes = struct.encode(args)
    const view = new DataView(bytes.buffer)
    for (const field of struct.fields)
      if (field.role === 'size' || field.role === 'argsz')
        view.setUint32(field.offset, bytes.length, true)
    const placed: { buffer: Buffer; array: Uint8Array }[] = []
    for (const [name, array] of Object.entries<Uint8Array | undefined>({ ...arrays })) {
      if (array === undefined || array.length === 0) continue
      const buffer = this.memory.allocate(array.length)
      buffer.bytes.set(array)
      view.setBigUint64(struct.place(name).offset, buffer.address, true)
      placed.push({ buffer, array })
    }
    const result = this.#ioctlOfBytes(ioctl.request, bytes)
    for (const { buffer, array } of placed) {
      array.set(buffer.bytes)
      this.memory.free(buffer)
    }
    return {
      answer: struct.decode(bytes),
      result: result instanceof Refusal ? undefined : result,
      refusal: result instanceof Refusal ? result : undefined,
    }
  }

  /**
   * The raw ioctl: `argument` is the bytes of the structure, which are changed in place, or the value
   * or address itself. Returns the ioctl's result; throws IommufdError where Linux gives an errno.
   */
  ioctl(request: number, argument: Uint8Array | bigint): number {
    const result =
      typeof argument === 'bigint'
        ? this.#ioctl(request, userVa(argument))
        : this.#ioctlOfBytes(request, argument)
    return this.#must(nameOf(request), result)
  }

  /** As pread(2), at most `length` bytes. Throws IommufdError. */
  read(offset: bigint, length: number): Uint8Array {
    return this.#withBuffer(new Uint8Array(length), (buffer) => {
      const call = this.#call()
      const result =
        this.#file.pread?.(call, buffer.address, length, fileOffset(offset)) ??
        this.#file.read?.(call, buffer.address, length)
      if (result === undefined) throw new Error(`${this.#file.linkText} cannot be read`)
      return buffer.bytes.slice(0, this.#must('read', result))
    })
  }

  /** As pwrite(2). Returns how many bytes were taken. Throws IommufdError. */
  write(offset: bigint, bytes: Uint8Array): number {
    return this.#withBuffer(bytes, (buffer) => {
      const call = this.#call()
      const result =
        this.#file.pwrite?.(call, buffer.address, bytes.length, fileOffset(offset)) ??
        this.#file.write?.(call, buffer.address, bytes.length)
      if (result === undefined) throw new Error(`${this.#file.linkText} cannot be written`)
      return this.#must('write', result)
    })
  }

  /** As close(2): what nothing else holds is released. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    this.machine.closeFile(this.fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Makes the call with the structure in the program's memory, and copies it back. */
  #ioctlOfBytes(request: number, bytes: Uint8Array): Result<number> {
    if (bytes.length > STRUCT_ROOM)
      throw new RangeError(`a structure of ${bytes.length} bytes is more than ${STRUCT_ROOM}`)
    // A listener may make a call during this one, so one place for all would not do.
    const place = this.#places.pop() ?? this.memory.allocate(STRUCT_ROOM)
    place.bytes.set(bytes)
    try {
      return this.#ioctl(request, place.address)
    } finally {
      bytes.set(place.bytes.subarray(0, bytes.length))
      this.#places.push(place)
    }
  }

  #ioctl(request: number, argument: UserVa): Result<number> {
    const call = this.#call()
    if (this.#file.ioctl === undefined)
      throw new Error(`${this.#file.linkText} has no ioctls at all`)
    return this.#file.ioctl(call, request, argument)
  }

  #withBuffer<T>(bytes: Uint8Array, use: (buffer: Buffer) => T): T {
    const buffer = this.memory.allocate(Math.max(1, bytes.length))
    buffer.bytes.set(bytes)
    try {
      return use(buffer)
    } finally {
      this.memory.free(buffer)
    }
  }

  #call() {
    if (!this.#open) throw new Error(`this ${this.#file.kind} has been closed`)
    return this.machine.call()
  }

  #must(what: string, result: Result<number>): number {
    if (result instanceof Refusal) throw new IommufdError(what, result)
    return result
  }
}

const kinds: readonly FileKind[] = ['iommufd', 'group', 'device', 'migration']

const nameOf = (request: number): string => {
  for (const kind of kinds) {
    const ioctl = ioctlOn(kind, request)
    if (ioctl !== undefined) return ioctl.name
  }
  return `ioctl 0x${request.toString(16)}`
}
