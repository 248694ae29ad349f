/** A program that makes system calls on the engine: memory, descriptors, ioctls by declaration. */
import { byteLength, type Fd, fd as toFd, type UserVa, userVa } from '../../../src/abi/brands.ts'
import { Errno, type ErrnoName, errnoName } from '../../../src/abi/errno.ts'
import type { IommufdCommand } from '../../../src/abi/ioctl.ts'
import type { DecodedFields, Fields } from '../../../src/abi/layout.ts'
import type { Context } from '../../../src/engine/context.ts'
import { FaultInjector } from '../../../src/engine/fault-injection.ts'
import type { OpenFile } from '../../../src/engine/file.ts'
import type { Machine } from '../../../src/engine/machine.ts'
import type { Call, Process } from '../../../src/engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../../src/engine/reason.ts'
import { type Buffer, ProgramMemory } from '../../../src/library/program-memory.ts'

const NoDescriptor = reasonKind({
  code: 'fixture-no-descriptor',
  errno: 'EMFILE',
  cite: 'test fixture',
  say: () => 'the test program has no free descriptor',
})

/** `0` or the errno's name, as a test states it. */
export type Outcome = 0 | ErrnoName

/** What became of an ioctl. */
export interface Done<F extends Fields> {
  readonly outcome: Outcome
  readonly refusal: Refusal | undefined
  /** The structure as it is in the caller's memory afterwards. */
  readonly after: DecodedFields<F>
}

export class Program {
  readonly memory = new ProgramMemory(1)
  readonly files = new Map<number, OpenFile>()
  readonly injector = new FaultInjector()
  readonly process: Process
  readonly machine: Machine
  /** Descriptors that the program may have. */
  maxFiles = 1024

  constructor(machine: Machine, options: { readonly privileged?: boolean } = {}) {
    this.machine = machine
    this.process = {
      pid: 1,
      name: 'test',
      uid: 1000,
      addressSpace: this.memory,
      capable: () => options.privileged ?? true,
      memlockLimit: () => byteLength(0xffff_ffff_ffff_ffffn),
      lockedBytes: () => byteLength(0n),
    }
  }

  call(): Call {
    return {
      process: this.process,
      tid: 1,
      memory: this.memory,
      file: (number) => this.files.get(number),
      install: (file) => this.install(file),
      fails: (step) => this.injector.fails(1, step),
    }
  }

  install(file: OpenFile): Result<Fd> {
    let number = 3
    while (this.files.has(number)) number++
    if (number >= this.maxFiles) return refuse(NoDescriptor, {})
    this.files.set(number, file)
    return toFd(number)
  }

  open(): Context {
    const context = this.machine.open('/dev/iommu', this.process)
    this.install(context)
    return context
  }

  file(number: number): OpenFile {
    const file = this.files.get(number)
    if (file === undefined) throw new Error(`descriptor ${number} is not open`)
    return file
  }

  close(number: number): void {
    this.file(number).release()
    this.files.delete(number)
  }

  closeAll(): void {
    for (const number of [...this.files.keys()].sort((a, b) => a - b)) this.close(number)
  }

  /** The ioctl with the structure in memory; `size` is filled in unless given. */
  ioctl<F extends Fields>(
    context: Context,
    ioctl: IommufdCommand<F>,
    args: Partial<DecodedFields<F>> & { readonly size?: number } = {},
  ): Done<F> {
    const { struct } = ioctl
    const size = args.size ?? struct.size
    const place = this.memory.allocate(Math.max(size, struct.size))
    place.bytes.set(struct.encode(args))
    new DataView(place.bytes.buffer, place.bytes.byteOffset).setUint32(0, size, true)
    const result = context.ioctl(this.call(), ioctl.request, place.address)
    const after = struct.decode(place.bytes.slice(0, struct.size))
    this.memory.free(place)
    return {
      outcome: outcomeOf(result),
      refusal: result instanceof Refusal ? result : undefined,
      after,
    }
  }

  /** The ioctl, which must succeed; returns the structure afterwards. */
  must<F extends Fields>(
    context: Context,
    ioctl: IommufdCommand<F>,
    args: Partial<DecodedFields<F>> = {},
  ): DecodedFields<F> {
    const { refusal, after } = this.ioctl(context, ioctl, args)
    if (refusal !== undefined)
      throw new Error(`${ioctl.name}: ${errnoOf(refusal)}: ${refusal.say()}`)
    return after
  }

  /** Bytes in memory of the program. */
  place(bytes: Uint8Array | number): Buffer {
    const buffer = this.memory.allocate(
      typeof bytes === 'number' ? bytes : Math.max(1, bytes.length),
    )
    if (typeof bytes !== 'number') buffer.bytes.set(bytes)
    return buffer
  }

  read(number: number, buffer: UserVa, count: number): number | Outcome {
    const result = this.file(number).read?.(this.call(), buffer, count) ?? 'EINVAL'
    return result instanceof Refusal ? errnoOf(result) : result
  }

  write(number: number, bytes: Uint8Array): number | Outcome {
    const buffer = this.place(bytes)
    const result = this.file(number).write?.(this.call(), buffer.address, bytes.length) ?? 'EINVAL'
    return result instanceof Refusal ? errnoOf(result) : result
  }
}

/** An address where nothing is. */
export const NOWHERE = userVa(0x1000n)

export const errnoOf = (refusal: Refusal): ErrnoName => errnoName(refusal.errno) as ErrnoName

export const outcomeOf = (result: Result<unknown>): Outcome =>
  result instanceof Refusal ? errnoOf(result) : 0

export const u32s = (...values: readonly number[]): Uint8Array => {
  const bytes = new Uint8Array(values.length * 4)
  const view = new DataView(bytes.buffer)
  for (const [index, value] of values.entries()) view.setUint32(index * 4, value, true)
  return bytes
}

export { Errno }
