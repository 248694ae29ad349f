/** File mappings that change hands: 01 §16 and §22.20, with the ledgers that /proc shows. */
import { describe, expect, test } from 'vitest'
import { sharedMemory } from '../../conformance/doors/simulated-memory.ts'
import { type Fd, userVa } from '../../src/abi/brands.ts'
import type { IommufdCommand } from '../../src/abi/ioctl.ts'
import {
  IOMMU_IOAS_CHANGE_PROCESS,
  IOMMU_IOAS_MAP_FILE,
  IOMMU_IOAS_UNMAP,
} from '../../src/abi/iommufd/ioas.ts'
import type { DecodedFields, Fields } from '../../src/abi/layout.ts'
import type { Call, ForeignFile } from '../../src/engine/ports.ts'
import { B, IoasWorld, must, outcome, TestProcess } from './support/ioas-world.ts'

/** A memfd of four pages, and how often it is held open. */
class Memfd implements ForeignFile {
  readonly foreign = true
  readonly name = 'memfd:test'
  readonly memory = sharedMemory('memfd:test')
  held = 0

  dup() {
    this.held += 1
    return {
      name: this.name,
      take: (page: number, count: number) => [{ object: this.memory, page, count }],
      close: () => {
        this.held -= 1
      },
    }
  }
}

const setUp = (options: { accounting?: 'user' | 'process' } = {}) => {
  const world = new IoasWorld()
  world.context.accounting = options.accounting ?? 'user'
  const ioas = world.ioas()
  const memfd = new Memfd()
  const ioctl = <F extends Fields>(
    process: TestProcess,
    command: IommufdCommand<F>,
    args: Partial<DecodedFields<F>> = {},
  ): string => {
    const call: Call = {
      process,
      tid: 1,
      memory: process.addressSpace,
      file: () => memfd,
      install: () => 3 as Fd,
      fails: () => false,
    }
    const bytes = command.struct.encode(args)
    new DataView(bytes.buffer).setUint32(0, bytes.length, true)
    process.addressSpace.write(userVa(B), bytes)
    return outcome(world.context.ioctl(call, command.request, userVa(B)))
  }
  const mapFile = (): string =>
    ioctl(world.process, IOMMU_IOAS_MAP_FILE, {
      flags: 6,
      ioas_id: ioas.id,
      fd: 5 as Fd,
      length: 0x4000n as never,
    })
  const unmapAll = (process: TestProcess): string =>
    ioctl(process, IOMMU_IOAS_UNMAP, {
      ioas_id: ioas.id,
      length: 0xffff_ffff_ffff_ffffn as never,
    })
  const child = new TestProcess(2)
  child.mmap(B, 0x1000n)
  const change = (process: TestProcess): string => ioctl(process, IOMMU_IOAS_CHANGE_PROCESS)
  const ledger = ({ addressSpace }: TestProcess) => world.machine.lockedMemory.ofSpace(addressSpace)
  return { world, ioas, memfd, mapFile, unmapAll, change, child, ledger }
}

describe('01 §22.20', () => {
  test('a mapping of memory cannot change hands', () => {
    const { world, ioas, change } = setUp()
    expect(change(world.process)).toBe('ok')
    must(world.map(ioas, 0n, B, 0x1000n))
    expect(change(world.process)).toBe('EINVAL')
  })

  test('VmPin moves to the process that takes over', () => {
    const { world, ioas, mapFile, change, child, ledger } = setUp()
    world.join(ioas)
    expect(mapFile()).toBe('ok')
    expect(change(world.process)).toBe('ok')
    expect(ledger(world.process).pinned).toBe(4)
    expect(change(child)).toBe('ok')
    expect([ledger(world.process).pinned, ledger(child).pinned]).toEqual([0, 4])
    expect(world.machine.lockedMemory.ofUser(1000)).toBe(4)
  })

  test('the same user needs room for both for a moment', () => {
    const { world, ioas, mapFile, change, child, ledger } = setUp()
    child.memlock = 0x4000n
    world.join(ioas)
    expect(mapFile()).toBe('ok')
    expect(change(child)).toBe('ENOMEM')
    expect([ledger(world.process).pinned, ledger(child).pinned]).toEqual([4, 0])
    expect(world.machine.lockedMemory.ofUser(1000)).toBe(4)
  })
})

test('the file is held open as long as anything maps it', () => {
  const { world, memfd, mapFile, unmapAll } = setUp()
  expect(mapFile()).toBe('ok')
  expect(mapFile()).toBe('ok')
  expect(memfd.held).toBe(2)
  expect(unmapAll(world.process)).toBe('ok')
  expect(memfd.held).toBe(0)
})

test('01 §16, per process: an old owner that is gone keeps the new one charged for good', () => {
  const { world, ioas, mapFile, unmapAll, change, child, ledger } = setUp({
    accounting: 'process',
  })
  world.join(ioas)
  expect(mapFile()).toBe('ok')
  world.process.exit()
  expect(change(child)).toBe('EINVAL')
  expect(change(child)).toBe('ok')
  expect(ledger(child)).toEqual({ pinned: 4, locked: 4 })
  expect(unmapAll(child)).toBe('ok')
  expect(ledger(child)).toEqual({ pinned: 4, locked: 4 })
})

test('01 §17.4: an uncharged mapping leaves VmPin where it was pinned', () => {
  const { world, ioas, mapFile, unmapAll, change, child, ledger } = setUp()
  world.process.capabilities.add('CAP_IPC_LOCK')
  world.join(ioas)
  expect(mapFile()).toBe('ok')
  expect(change(child)).toBe('ok')
  expect(unmapAll(child)).toBe('ok')
  expect([ledger(world.process).pinned, ledger(child).pinned]).toEqual([4, -4])
})
