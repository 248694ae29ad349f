/**
 * System calls without a detour: a little machine code that runs the table of a sequence
 * (syscall-sequence.ts), and single calls. It only loads registers, calls the kernel, moves and compares
 * words; what it does, plainSequence() does as well, and the tests compare the two.
 *
 * For x86-64. Elsewhere, and where the machine allows no new executable memory, calls are made one by one
 * through the FFI library, and nothing but time is lost.
 */
import type { SyscallName } from './arch.ts'
import { PAGE_SIZE } from './kernel.ts'
import type { Sys } from './sys.ts'
import {
  Kind,
  newTable,
  STEP_SIZE,
  type Steps,
  sequenceOver,
  writeTable,
} from './syscall-sequence.ts'

/** The function at offset 0: rdi is the address of a step; returns how many steps were passed. */
const RUN = `
  53               push   rbx
  55               push   rbp
  48 89 fb         mov    rbx, rdi           ; the step
  31 ed            xor    ebp, ebp           ; steps passed
next:
  8b 0b            mov    ecx, [rbx]         ; which kind
  83 f9 0${Kind.CALL}         cmp    ecx, CALL
  74 19            je     call
  83 f9 0${Kind.CALL_OR_STOP}         cmp    ecx, CALL_OR_STOP
  74 14            je     call
  83 f9 0${Kind.COPY}         cmp    ecx, COPY
  74 42            je     copy
  83 f9 0${Kind.EXPECT}         cmp    ecx, EXPECT
  74 4d            je     expect
  83 f9 0${Kind.CLEAR}         cmp    ecx, CLEAR
  74 5b            je     clear
done:
  89 e8            mov    eax, ebp
  5d               pop    rbp
  5b               pop    rbx
  c3               ret
call:
  48 8b 7b 08      mov    rdi, [rbx+8]
  48 8b 73 10      mov    rsi, [rbx+16]
  48 8b 53 18      mov    rdx, [rbx+24]
  4c 8b 53 20      mov    r10, [rbx+32]
  4c 8b 43 28      mov    r8, [rbx+40]
  4c 8b 4b 30      mov    r9, [rbx+48]
  8b 43 04         mov    eax, [rbx+4]
  0f 05            syscall
  48 89 43 38      mov    [rbx+56], rax
  48 85 c0         test   rax, rax
  79 05            jns    passed
  83 3b 0${Kind.CALL_OR_STOP}         cmp    dword [rbx], CALL_OR_STOP
  74 d0            je     done
passed:
  48 83 c3 40      add    rbx, ${STEP_SIZE}
  ff c5            inc    ebp
  eb ad            jmp    next
copy:
  48 8b 43 08      mov    rax, [rbx+8]
  48 8b 00         mov    rax, [rax]
  48 8b 53 10      mov    rdx, [rbx+16]
  48 89 02         mov    [rdx], rax
  eb e8            jmp    passed
expect:
  48 8b 43 08      mov    rax, [rbx+8]
  48 8b 00         mov    rax, [rax]
  48 23 43 10      and    rax, [rbx+16]
  48 3b 43 18      cmp    rax, [rbx+24]
  74 d7            je     passed
  eb a5            jmp    done
clear:
  48 8b 7b 08      mov    rdi, [rbx+8]
  48 8b 4b 10      mov    rcx, [rbx+16]
  31 c0            xor    eax, eax
  f3 48 ab         rep stosq
  eb c6            jmp    passed
`

/** Behind it, one call: rdi is the address of its number, six arguments, and room for the result, as doubles. */
const ONE = `
  53               push   rbx
  48 89 fb         mov    rbx, rdi
  f2 48 0f 2c 7b 08 cvttsd2si rdi, [rbx+8]
  f2 48 0f 2c 73 10 cvttsd2si rsi, [rbx+16]
  f2 48 0f 2c 53 18 cvttsd2si rdx, [rbx+24]
  f2 4c 0f 2c 53 20 cvttsd2si r10, [rbx+32]
  f2 4c 0f 2c 43 28 cvttsd2si r8, [rbx+40]
  f2 4c 0f 2c 4b 30 cvttsd2si r9, [rbx+48]
  f2 48 0f 2c 03   cvttsd2si rax, [rbx]
  0f 05            syscall
  f2 48 0f 2a c0   cvtsi2sd xmm0, rax
  f2 0f 11 43 38   movsd  [rbx+56], xmm0
  5b               pop    rbx
  c3               ret
`

/** The bytes that begin each line; labels and instructions are for people. */
const assembled = (listing: string): number[] =>
  [...listing.matchAll(/^ {2}((?:[0-9a-f]{2} )+)/gm)].flatMap(([, bytes = '']) =>
    bytes
      .trim()
      .split(' ')
      .map((byte) => Number.parseInt(byte, 16)),
  )

const PROT_READ_WRITE = 3
const PROT_READ_EXEC = 5
const MAP_PRIVATE_ANONYMOUS = 0x22
const NUMBER_OF_DOUBLES = 8

/** The same system, by machine code; as it was if that is impossible here. */
export const withMachineCode = (sys: Sys): Sys => {
  if (sys.arch.name !== 'x64') return sys
  const page = sys.call('mmap', 0, PAGE_SIZE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0)
  if (page < 0) return sys
  const run = assembled(RUN)
  const one = assembled(ONE)
  sys.at(page, PAGE_SIZE).set([...run, ...one])
  if (sys.call('mprotect', page, PAGE_SIZE, PROT_READ_EXEC) < 0) return sys
  const execute = sys.code(page)
  return {
    ...sys,
    call: singleCall(sys, sys.code(page + run.length)),
    sequence: (length: number, steps: Steps) => {
      const table = newTable(sys, length)
      writeTable(sys, steps(table), table)
      return sequenceOver(table, (from) => execute(table.address + STEP_SIZE * from))
    },
  }
}

const ENOSYS = 38

const singleCall = (sys: Sys, execute: (address: number) => number): Sys['call'] => {
  const { address, bytes } = sys.alloc(8 * NUMBER_OF_DOUBLES)
  const words = new Float64Array(bytes.buffer, bytes.byteOffset, NUMBER_OF_DOUBLES)
  const { nr } = sys.arch
  return (name: SyscallName, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0) => {
    const number = nr[name]
    if (number === undefined) return -ENOSYS
    words[0] = number
    words[1] = a
    words[2] = b
    words[3] = c
    words[4] = d
    words[5] = e
    words[6] = f
    execute(address)
    return words[7] ?? 0
  }
}
