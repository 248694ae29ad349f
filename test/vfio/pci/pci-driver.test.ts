/** Binding of PCI functions and the files that do it (06 §10.2), in-process; test/host has it under run. */
import { beforeEach, describe, expect, test } from 'vitest'
import { fd } from '../../../src/abi/brands.ts'
import { Edu } from '../../../src/devices/edu.ts'
import { Later } from '../../../src/engine/later.ts'
import type { HeldEventfd } from '../../../src/engine/ports.ts'
import { Refusal } from '../../../src/engine/reason.ts'
import { holdEventfd } from '../../../src/vfio/pci/eventfd.ts'
import { sysfsOf } from '../../../src/vfio/pci/sysfs.ts'
import { PciWorld } from './world.ts'

let world: PciWorld
let bdf: string

/** What becomes of a write to a file under /sys: the number of bytes, the code of the reason, or waiting. */
const write = (path: string, text: string): number | string => {
  const entry = sysfsOf(world.pci, { vfio: 243, vfioDev: 242 }).find((each) => each.path === path)
  const node = entry?.node
  if (node?.kind !== 'text' || node.write === undefined) return 'no such file'
  const result = node.write(new TextEncoder().encode(text))
  if (result instanceof Later) return 'waits'
  return result instanceof Refusal ? result.kind.code : result
}
const driver = (file: string, text: string) => write(`/sys/bus/pci/drivers/vfio-pci/${file}`, text)
const ofFunction = (file: string, text: string) =>
  write(`/sys/devices/pci0000:00/${bdf}/${file}`, text)

beforeEach(() => {
  world = new PciWorld(new Edu())
  bdf = world.pci.functions[0]?.bdf ?? ''
  world.file.release()
})

test('unbinding, binding, and both twice', () => {
  expect(driver('bind', bdf)).toBe('function-already-bound')
  expect(driver('unbind', `${bdf}\n`)).toBe(bdf.length + 1)
  expect(driver('unbind', bdf)).toBe('function-not-bound')
  expect(world.machine.node('/dev/vfio/devices/vfio0')).toBeUndefined()
  expect(world.machine.node('/dev/vfio/7')).toBeUndefined()
  expect(driver('bind', bdf)).toBe(bdf.length)
  expect(world.machine.node('/dev/vfio/devices/vfio0')).toBeDefined()
  expect(driver('bind', '0000:77:00.0')).toBe('sysfs-no-such-function')
})

test('what matches is decided by driver_override, else by new_id', () => {
  driver('unbind', bdf)
  expect(ofFunction('driver_override', '\n')).toBe(1)
  expect(driver('bind', bdf)).toBe('driver-does-not-match')
  expect(driver('new_id', '1234')).toBe('driver-id-malformed')
  expect(driver('remove_id', '1234 11e8')).toBe('driver-id-unknown')
  expect(driver('new_id', '1234 11e8')).toBe(9)
  expect(driver('new_id', '1234 11e8')).toBe('driver-id-known')
  expect(world.pci.functions[0]?.vfio).toBeDefined()
})

test('unbinding waits for the last file, which is told that it is', () => {
  const cdev = world.openCdev()
  expect(driver('unbind', bdf)).toBe('waits')
  expect(world.pci.functions[0]).toMatchObject({ vfio: undefined, leaving: true })
  cdev.release()
  expect(world.pci.functions[0]).toMatchObject({ leaving: false })
  expect(driver('bind', bdf)).toBe(bdf.length)
})

describe('files of a function', () => {
  test('reset takes 1, and enable is the driver’s', () => {
    expect(ofFunction('reset', '1\n')).toBe(2)
    expect(ofFunction('reset', '2')).toBe('reset-takes-one')
    expect(ofFunction('enable', '1')).toBe('enabled-by-driver')
    driver('unbind', bdf)
    expect(ofFunction('enable', '1')).toBe(1)
  })
})

test('an eventfd that cannot be had is not said to be none', () => {
  const call = {
    ...world.call(),
    file: () => ({
      foreign: true as const,
      name: 'anon_inode:[eventfd]',
      dup: (): never => {
        throw new Error('an eventfd is no memory')
      },
      eventfd: (): HeldEventfd | undefined => undefined,
    }),
  }
  const held = holdEventfd(call, fd(9))
  expect(held instanceof Refusal && held.kind.code).toBe('eventfd-out-of-reach')
})
