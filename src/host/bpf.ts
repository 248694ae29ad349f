/** Classic BPF as seccomp takes it, written from a list of which calls to hand to the supervisor. */
import type { Arch, SyscallName } from './arch.ts'

/** A test of one 32-bit half of an argument. */
export interface ArgumentTest {
  readonly argument: number
  readonly half?: 'low' | 'high'
  readonly mask?: number
  readonly is: 'equal' | 'unequal' | 'at-least' | 'at-most'
  readonly value: number
}

/** A call to trap: always, or when one of the alternatives holds (each is a list of tests that must all hold). */
export interface Trap {
  readonly call: SyscallName
  readonly when?: readonly (readonly ArgumentTest[])[]
}

interface Instruction {
  readonly code: number
  readonly k: number
  readonly jumpTrue?: number
  readonly jumpFalse?: number
}

const LOAD = 0x20
const AND = 0x54
const JUMP_EQUAL = 0x15
const JUMP_AT_LEAST = 0x35
const RETURN = 0x06
const RET_ALLOW = 0x7fff_0000
const RET_USER_NOTIF = 0x7fc0_0000
// Offsets in struct seccomp_data.
const NR = 0
const ARCH = 4
const ARGUMENTS = 16
/** x32 calls carry this bit in their number. */
const X32_BIT = 0x4000_0000

const load = (offset: number): Instruction => ({ code: LOAD, k: offset })
const ret = (value: number): Instruction => ({ code: RETURN, k: value })

/** The instructions of one test; falls through if it holds, else jumps `otherwise` instructions ahead of its end. */
const testCode = (test: ArgumentTest, otherwise: number): Instruction[] => {
  const code: Instruction[] = [load(ARGUMENTS + 8 * test.argument + (test.half === 'high' ? 4 : 0))]
  if (test.mask !== undefined) code.push({ code: AND, k: test.mask })
  const holds = { jumpTrue: 0, jumpFalse: otherwise }
  const holdsNot = { jumpTrue: otherwise, jumpFalse: 0 }
  switch (test.is) {
    case 'equal':
      code.push({ code: JUMP_EQUAL, k: test.value, ...holds })
      break
    case 'unequal':
      code.push({ code: JUMP_EQUAL, k: test.value, ...holdsNot })
      break
    case 'at-least':
      code.push({ code: JUMP_AT_LEAST, k: test.value, ...holds })
      break
    case 'at-most':
      code.push({ code: JUMP_AT_LEAST, k: test.value + 1, ...holdsNot })
      break
  }
  return code
}

/** Tests that must all hold, then the trap; a test that fails skips behind the trap. */
const alternativeCode = (tests: readonly ArgumentTest[]): Instruction[] => {
  let code: Instruction[] = [ret(RET_USER_NOTIF)]
  for (const test of tests.toReversed()) code = [...testCode(test, code.length), ...code]
  return code
}

/** One struct sock_filter, 8 bytes, after another. */
export const filterProgram = (arch: Arch, traps: readonly Trap[]): Uint8Array => {
  const code: Instruction[] = [
    load(ARCH),
    { code: JUMP_EQUAL, k: arch.audit, jumpTrue: 1, jumpFalse: 0 },
    ret(RET_ALLOW),
    load(NR),
    { code: JUMP_AT_LEAST, k: X32_BIT, jumpTrue: 0, jumpFalse: 1 },
    ret(RET_ALLOW),
  ]
  for (const trap of traps) {
    const nr = arch.nr[trap.call]
    if (nr === undefined) continue
    const body =
      trap.when === undefined
        ? [ret(RET_USER_NOTIF)]
        : [...trap.when.flatMap(alternativeCode), ret(RET_ALLOW)]
    code.push({ code: JUMP_EQUAL, k: nr, jumpTrue: 0, jumpFalse: body.length }, ...body)
  }
  code.push(ret(RET_ALLOW))
  return encode(code)
}

const encode = (code: readonly Instruction[]): Uint8Array => {
  const bytes = new Uint8Array(8 * code.length)
  const view = new DataView(bytes.buffer)
  for (const [i, { code: op, k, jumpTrue = 0, jumpFalse = 0 }] of code.entries()) {
    view.setUint16(8 * i, op, true)
    view.setUint8(8 * i + 2, jumpTrue)
    view.setUint8(8 * i + 3, jumpFalse)
    view.setUint32(8 * i + 4, k, true)
  }
  return bytes
}
