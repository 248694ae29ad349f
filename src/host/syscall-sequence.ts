/**
 * Several system calls at one go. To leave JavaScript and come back costs about as much as a short system
 * call, so what always follows one another is written down once, as a table of steps, and run as a whole:
 * by machine code where that is possible (machine-code.ts), else step by step from here. Both do the same.
 *
 * A sequence ends behind its last step, or at the first that stops it.
 */
import type { SyscallName } from './arch.ts'
import type { Block, Sys } from './sys.ts'

/** 8 bytes that steps read or write. */
export interface Place {
  readonly block: Block
  readonly offset: number
}

export type Step =
  /** A system call, absent arguments 0; stops if it fails and `orStop` is set. */
  | {
      readonly call: SyscallName
      readonly args: readonly number[]
      readonly orStop?: boolean
    }
  /** Copies 8 bytes. */
  | { readonly copy: Place; readonly to: Place }
  /** Stops unless the bits of `mask` are as in `is`. */
  | { readonly expect: Place; readonly mask: bigint; readonly is: bigint }
  /** Makes all bytes of a block 0; its size is a multiple of 8. */
  | { readonly clear: Block }

export interface Sequence {
  /** Runs from step `from` on (0 if absent). Returns the number of the step that stopped it, or how many steps there are. */
  run(from?: number): number
  /** What the call of this step has returned: a value, or an errno negated. */
  result(step: number): number
  /** Changes an argument of a call (from 0), or what a step expects (argument 2). */
  set(step: number, argument: number, value: number): void
}

/** How to make the result of an earlier call a place, for `expect`. */
export const resultOf = (table: Block, step: number): Place => ({
  block: table,
  offset: STEP_SIZE * step + RESULT,
})

// A step in the table: what it is (32 bits), number of the call (32 bits), six operands and a result (64 bits each).
export const STEP_SIZE = 64
const NUMBER = 4
const OPERANDS = 8
const RESULT = 56

/** What a step is; 0 behind the last. */
export const Kind = { END: 0, CALL: 2, CALL_OR_STOP: 3, COPY: 4, EXPECT: 5, CLEAR: 6 } as const

const TWO_32 = 0x1_0000_0000

/** A call that the architecture does not have: the kernel answers ENOSYS to its number. */
const NO_CALL = 0xffff_ffff

const addressOf = ({ block, offset }: Place): number => block.address + offset

/** The table of these steps. `table`, if given, is where: for steps that refer to results of others. */
export const writeTable = (sys: Sys, steps: readonly Step[], table: Block): void => {
  for (const [i, step] of steps.entries()) {
    const at = STEP_SIZE * i
    let kind: number
    let operands: readonly (number | bigint)[]
    if ('call' in step) {
      kind = step.orStop ? Kind.CALL_OR_STOP : Kind.CALL
      operands = step.args
      table.view.setUint32(at + NUMBER, sys.arch.nr[step.call] ?? NO_CALL, true)
    } else if ('copy' in step) {
      kind = Kind.COPY
      operands = [addressOf(step.copy), addressOf(step.to)]
    } else if ('expect' in step) {
      kind = Kind.EXPECT
      operands = [addressOf(step.expect), step.mask, step.is]
    } else {
      kind = Kind.CLEAR
      operands = [step.clear.address, step.clear.bytes.length / 8]
    }
    table.view.setUint32(at, kind, true)
    for (const [n, operand] of operands.entries())
      table.view.setBigInt64(at + OPERANDS + 8 * n, BigInt.asIntN(64, BigInt(operand)), true)
  }
}

/** A block for so many steps. */
export const newTable = (sys: Sys, steps: number): Block => sys.alloc(STEP_SIZE * (steps + 1))

/** The steps that refer to results need the table before it is written: `steps` gets it. */
export type Steps = (table: Block) => readonly Step[]

/** A sequence over a table, which `execute` runs from a step on; it returns how many steps it has passed. */
export const sequenceOver = (table: Block, execute: (from: number) => number): Sequence => {
  const { view } = table
  return {
    run: (from = 0) => from + execute(from),
    result: (step) =>
      view.getUint32(STEP_SIZE * step + RESULT, true) +
      view.getInt32(STEP_SIZE * step + RESULT + 4, true) * TWO_32,
    set: (step, argument, value) => {
      const at = STEP_SIZE * step + OPERANDS + 8 * argument
      view.setInt32(at, value | 0, true)
      view.setInt32(at + 4, Math.floor(value / TWO_32), true)
    },
  }
}

/** Runs steps one by one. */
export const plainSequence = (sys: Sys, steps: readonly Step[], table: Block): Sequence => {
  writeTable(sys, steps, table)
  const { view } = table
  const operand = (step: number, n: number): number => {
    const at = STEP_SIZE * step + OPERANDS + 8 * n
    return view.getUint32(at, true) + view.getInt32(at + 4, true) * TWO_32
  }
  /** Whether the sequence goes on. */
  const execute = (step: Step, i: number): boolean => {
    if ('call' in step) {
      const result = sys.call(
        step.call,
        operand(i, 0),
        operand(i, 1),
        operand(i, 2),
        operand(i, 3),
        operand(i, 4),
        operand(i, 5),
      )
      view.setBigInt64(STEP_SIZE * i + RESULT, BigInt(result), true)
      return result >= 0 || !step.orStop
    }
    if ('copy' in step) {
      const { copy, to } = step
      to.block.bytes.set(copy.block.bytes.subarray(copy.offset, copy.offset + 8), to.offset)
      return true
    }
    if ('expect' in step) {
      const found = step.expect.block.view.getBigUint64(step.expect.offset, true)
      const at = STEP_SIZE * i + OPERANDS + 16
      return (found & step.mask) === view.getBigUint64(at, true)
    }
    step.clear.bytes.fill(0)
    return true
  }
  return sequenceOver(table, (from) => {
    let passed = 0
    for (let i = from; i < steps.length; i++) {
      const step = steps[i]
      if (step === undefined || !execute(step, i)) break
      passed += 1
    }
    return passed
  })
}
