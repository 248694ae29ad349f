/**
 * Lets a thread whose call we serve make calls of its own: what only it can do for itself, as changing its
 * working directory. It is stopped by ptrace on its way back from the call, made to execute its system
 * call instruction again with other registers, and let go.
 */
import type { SyscallName } from './arch.ts'
import type { Notifications } from './notifications.ts'
import type { Block, Sys } from './sys.ts'

const PTRACE_CONT_TO_SYSCALL = 24
const PTRACE_DETACH = 17
const PTRACE_GETREGSET = 0x4204
const PTRACE_SETREGSET = 0x4205
const PTRACE_SEIZE = 0x4206
const PTRACE_INTERRUPT = 0x4207
const PTRACE_GETSIGMASK = 0x420a
const PTRACE_SETSIGMASK = 0x420b
const NT_PRSTATUS = 1
const SIGMASK_SIZE = 8
/** Tells calls that we make in a program's place from its own: the filter lets them pass. */
export const INJECTED = 0x3b3b_3b3b

// struct user_regs_struct of x86-64.
const REGISTERS_SIZE = 216
const RAX = 80
const RSI = 104
const RDI = 112
const ORIG_RAX = 120
const RIP = 128
const SYSCALL_LENGTH = 2n

/** How often a thread is looked at before it counts as gone: about a second. */
const PATIENCE = 20_000
const FIFTY_MICROSECONDS = 50_000n

export interface InjectedCall {
  readonly name: SyscallName
  readonly argument: number
}

export class InjectedCalls {
  readonly #sys: Sys
  readonly #saved: Block
  readonly #registers: Block
  readonly #iovec: Block
  readonly #mask: Block
  readonly #pause: Block

  constructor(sys: Sys) {
    this.#sys = sys
    this.#saved = sys.alloc(REGISTERS_SIZE)
    this.#registers = sys.alloc(REGISTERS_SIZE)
    this.#iovec = sys.alloc(16)
    this.#mask = sys.alloc(2 * SIGMASK_SIZE)
    this.#pause = sys.alloc(16)
    this.#pause.view.setBigInt64(8, FIFTY_MICROSECONDS, true)
    // All that can be blocked.
    this.#mask.bytes.fill(0xff, SIGMASK_SIZE)
  }

  /**
   * Answers the call being served: the thread makes `calls`, and returns from its own with the result of
   * the first. False if it cannot be held, for one because a debugger does: then nothing has happened.
   */
  answer(notifications: Notifications, calls: readonly InjectedCall[]): boolean {
    const { tid } = notifications
    if (this.#sys.arch.name !== 'x64' || this.#ptrace(PTRACE_SEIZE, tid, 0, 0) < 0) return false
    this.#ptrace(PTRACE_INTERRUPT, tid, 0, 0)
    notifications.succeed(0)
    if (this.#stopped(tid, this.#saved)) {
      this.#ptrace(PTRACE_GETSIGMASK, tid, SIGMASK_SIZE, this.#mask.address)
      // A signal would be delivered before the instruction is executed.
      this.#ptrace(PTRACE_SETSIGMASK, tid, SIGMASK_SIZE, this.#mask.address + SIGMASK_SIZE)
      const [result = 0n] = calls.map((call) => this.#make(tid, call))
      this.#saved.view.setBigInt64(RAX, result, true)
      this.#saved.view.setBigInt64(ORIG_RAX, -1n, true)
      this.#setRegisters(tid, this.#saved)
      this.#ptrace(PTRACE_SETSIGMASK, tid, SIGMASK_SIZE, this.#mask.address)
    }
    this.#ptrace(PTRACE_DETACH, tid, 0, 0)
    return true
  }

  #make(tid: number, { name, argument }: InjectedCall): bigint {
    const { view, bytes } = this.#registers
    bytes.set(this.#saved.bytes)
    view.setBigUint64(RIP, this.#saved.view.getBigUint64(RIP, true) - SYSCALL_LENGTH, true)
    view.setBigInt64(ORIG_RAX, -1n, true)
    view.setBigInt64(RAX, BigInt(this.#sys.arch.nr[name] ?? -1), true)
    view.setBigInt64(RDI, BigInt(argument), true)
    view.setBigInt64(RSI, BigInt(INJECTED), true)
    this.#setRegisters(tid, this.#registers)
    // To the entry of the call, then to its exit.
    for (let stop = 0; stop < 2; stop++) {
      this.#ptrace(PTRACE_CONT_TO_SYSCALL, tid, 0, 0)
      if (!this.#stopped(tid, this.#registers)) return 0n
    }
    return view.getBigInt64(RAX, true)
  }

  /** Waits until the thread stops, and reads its registers; false if it is gone. */
  #stopped(tid: number, registers: Block): boolean {
    for (let look = 0; look < PATIENCE; look++) {
      this.#describe(registers)
      if (this.#ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, this.#iovec.address) === 0) return true
      this.#sys.call('ppoll', 0, 0, this.#pause.address, 0, 8)
    }
    return false
  }

  #setRegisters(tid: number, registers: Block): void {
    this.#describe(registers)
    this.#ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, this.#iovec.address)
  }

  #describe(registers: Block): void {
    this.#iovec.view.setBigUint64(0, BigInt(registers.address), true)
    this.#iovec.view.setBigUint64(8, BigInt(REGISTERS_SIZE), true)
  }

  #ptrace(request: number, tid: number, address: number, data: number): number {
    return this.#sys.call('ptrace', request, tid, address, data)
  }
}
