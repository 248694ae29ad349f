/** Machine code against the plain way: the same steps, the same outcome. */
import { describe, expect, test } from 'vitest'
import { openPath } from '../../src/host/client-memory.ts'
import { O } from '../../src/host/kernel.ts'
import { withMachineCode } from '../../src/host/machine-code.ts'
import type { Block, Sys } from '../../src/host/sys.ts'
import { koffiSys } from '../../src/host/sys-koffi.ts'
import { resultOf, type Step } from '../../src/host/syscall-sequence.ts'

const isLinux = process.platform === 'linux'
const ENOSYS = -38
const EBADF = -9
const ESPIPE = -29

describe.skipIf(!isLinux)(`system calls${isLinux ? '' : ' (skipped: needs Linux)'}`, () => {
  const plain = isLinux ? koffiSys() : undefined
  const ways: readonly (readonly [string, (sys: Sys) => Sys])[] = [
    ['one by one', (sys) => sys],
    ['by machine code', withMachineCode],
  ]
  const withSys = (make: (sys: Sys) => Sys): Sys => {
    if (plain === undefined) throw new Error('not on Linux')
    return make(plain)
  }

  test('machine code is used where it can be', () => {
    const sys = withSys(withMachineCode)
    expect(sys !== plain).toBe(process.arch === 'x64')
  })

  test.each(ways)('a call %s returns values, addresses and errno values', (_, make) => {
    const sys = withSys(make)
    expect(sys.call('getpid')).toBe(process.pid)
    expect(sys.call('close', -1)).toBe(EBADF)
    expect(sys.call('fcntl', 1_000_000, 1)).toBe(EBADF)
    const page = sys.call('mmap', 0, 4096, 3, 0x22, -1, 0)
    expect(page).toBeGreaterThan(0xffff_ffff)
    sys.at(page, 4096)[5] = 7
    expect(sys.call('munmap', page, 4096)).toBe(0)
    // All six arguments, one beyond 32 bits: the offset of a sparse memfd.
    const name = sys.alloc(8)
    const fd = sys.call('memfd_create', name.address, 1)
    expect(sys.call('pwrite64', fd, name.address, 1, 0x12_3456_7890)).toBe(1)
    expect(sys.call('lseek', fd, 0, 2)).toBe(0x12_3456_7891)
    expect(sys.call('lseek', fd, -1, 1)).toBe(0x12_3456_7890)
    sys.call('close', fd)
  })

  test('a call that the architecture does not have is ENOSYS, alone and in a sequence', () => {
    const sys = withSys((real) => withMachineCode({ ...real, arch: { ...real.arch, nr: {} } }))
    if (process.arch !== 'x64') return
    expect(sys.call('getpid')).toBe(ENOSYS)
    const sequence = sys.sequence(1, () => [{ call: 'getpid', args: [], orStop: true }])
    expect([sequence.run(), sequence.result(0)]).toEqual([0, ENOSYS])
  })

  /** Everything that a run shows: where it stopped, what calls returned, what blocks hold. */
  const outcome = (
    make: (sys: Sys) => Sys,
    steps: (blocks: { from: Block; to: Block }, fd: number, table: Block) => readonly Step[],
    before?: (from: Block) => void,
  ): unknown => {
    const sys = withSys(make)
    const from = sys.alloc(64)
    const to = sys.alloc(64)
    from.bytes.set(Array.from({ length: 64 }, (_, i) => 3 * i + 1))
    before?.(from)
    const fd = openPath(sys, '/dev/zero', O.RDONLY)
    let calls: number[] = []
    const sequence = sys.sequence(8, (table) => {
      const list = steps({ from, to }, fd, table)
      calls = list.flatMap((step, i) => ('call' in step ? [i] : []))
      return list
    })
    const first = sequence.run()
    const results = calls.map((i) => sequence.result(i))
    const second = sequence.run(1)
    sys.call('close', fd)
    return { first, second, results, from: [...from.bytes], to: [...to.bytes] }
  }

  const examples: Readonly<Record<string, Parameters<typeof outcome>[1]>> = {
    'nothing at all': () => [],
    'copies and a read': ({ from, to }, fd) => [
      { copy: { block: from, offset: 8 }, to: { block: to, offset: 16 } },
      { call: 'read', args: [fd, from.address + 3, 5] },
      { copy: { block: from, offset: 0 }, to: { block: to, offset: 56 } },
    ],
    'a failure that stops, and one that does not': ({ from }, fd) => [
      { call: 'lseek', args: [0x7fff_ffff, 0, 0] },
      { call: 'read', args: [-1, from.address, 1], orStop: true },
      { call: 'read', args: [fd, from.address, 1] },
    ],
    'a result that is as expected': ({ from, to }, fd, table) => [
      { call: 'read', args: [fd, to.address, 6], orStop: true },
      { expect: resultOf(table, 0), mask: 0xffff_ffff_ffff_ffffn, is: 6n },
      { clear: from },
    ],
    'a result that is not': ({ from, to }, fd, table) => [
      { call: 'read', args: [fd, to.address, 6], orStop: true },
      { expect: resultOf(table, 0), mask: 0xffff_ffff_ffff_ffffn, is: 7n },
      { clear: from },
    ],
    'some bits as expected, others not': ({ from, to }) => [
      { expect: { block: from, offset: 8 }, mask: 0xff00n, is: 0x1c00n },
      { clear: to },
      { expect: { block: from, offset: 56 }, mask: 0xffn << 56n, is: 0xben << 56n },
      { clear: from },
      { expect: { block: from, offset: 0 }, mask: 1n, is: 1n },
      { clear: to },
    ],
  }

  test.each(Object.entries(examples))('%s: both ways do the same', (_, steps) => {
    expect(outcome(withMachineCode, steps)).toEqual(outcome((sys) => sys, steps))
  })

  test('arguments and expectations can be changed', () => {
    for (const [, make] of ways) {
      const sys = withSys(make)
      const block = sys.alloc(8)
      const fd = openPath(sys, '/dev/zero', O.RDONLY)
      const sequence = sys.sequence(2, (table) => [
        { call: 'read', args: [-1, block.address, 8] },
        { expect: resultOf(table, 0), mask: 0xffff_ffff_ffff_ffffn, is: 0n },
      ])
      expect(sequence.run()).toBe(1)
      sequence.set(0, 0, fd)
      sequence.set(0, 2, 5)
      sequence.set(1, 2, 5)
      expect(sequence.run()).toBe(2)
      sequence.set(0, 0, -1)
      sequence.set(1, 2, EBADF)
      expect(sequence.run()).toBe(2)
      sequence.set(0, 2, 2 ** 40)
      sequence.set(0, 1, -1)
      expect(sequence.run()).toBe(2)
      sys.call('close', fd)
    }
  })

  test('seeking in a pipe says so', () => {
    const sys = withSys(withMachineCode)
    const ends = sys.alloc(8)
    sys.call('pipe2', ends.address, 0)
    const [read, write] = [ends.view.getInt32(0, true), ends.view.getInt32(4, true)]
    expect(sys.call('lseek', read, 0, 0)).toBe(ESPIPE)
    sys.call('close', read)
    sys.call('close', write)
  })
})
