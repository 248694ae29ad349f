/**
 * Whatever sequence of calls is made on devices and page tables, with failures injected anywhere: a
 * failed call changes nothing that can be seen, and the end of all processes leaves nothing behind.
 */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { byteLength, iova, objectId, pasid } from '../../src/abi/brands.ts'
import { IOMMU_FAULT_QUEUE_ALLOC, IOMMU_VEVENTQ_ALLOC } from '../../src/abi/iommufd/events.ts'
import { IOMMU_HWPT_SET_DIRTY_TRACKING } from '../../src/abi/iommufd/hwpt.ts'
import {
  IOMMU_HW_QUEUE_ALLOC,
  IOMMU_VDEVICE_ALLOC,
  IOMMU_VIOMMU_ALLOC,
} from '../../src/abi/iommufd/viommu.ts'
import { bindDevice, type Device } from '../../src/engine/device.ts'
import { reportFault } from '../../src/engine/fault-report.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { Bench, mockDevice, mockIommu } from './support/setup.ts'
import type { TestDevice } from './support/test-iommu.ts'

const DEVICES = 4

class World {
  readonly bench = new Bench(mockIommu())
  readonly hardware: TestDevice[]
  readonly bound = new Map<TestDevice, Device>()

  constructor() {
    const { iommu } = this.bench
    const group = iommu.newGroup()
    const inGroup = (name: string) =>
      iommu.device(name, { group, regions: [], without: ['enforce-coherency'] })
    this.hardware = [mockDevice(iommu, 'A'), inGroup('G1'), inGroup('G2'), iommu.device('P')]
  }

  device(index: number): TestDevice {
    const device = this.hardware[index % DEVICES]
    if (device === undefined) throw new Error('no such device')
    return device
  }

  /** An object of one of the types, or now and then any ID. */
  pick(choice: number, ...types: readonly string[]): number {
    const fitting = [...this.bench.context.objects].filter(({ type }) => types.includes(type))
    const chosen = fitting[choice % fitting.length]
    return choice % 10 === 9 || chosen === undefined ? choice : chosen.id
  }

  /** Everything that a client could see: objects with their users, ranges, attachments. */
  view(): unknown {
    const { objects } = this.bench.context
    return {
      objects: [...objects].map((object) => [String(object), object.users]),
      ranges: [...objects]
        .filter(({ type }) => type === 'ioas')
        .map(({ id }) => this.bench.ranges(id)),
      attached: this.hardware.map((device) => {
        const bound = this.bound.get(device)
        return [bound?.hwpt?.id, bound?.attachedPasids().map((id) => bound.hwptOfPasid(id)?.id)]
      }),
      files: [...this.bench.program.files.keys()],
    }
  }
}

interface Step {
  readonly op: number
  readonly a: number
  readonly b: number
  readonly c: number
  readonly failAt: number
}

/** Carries a step out; true when the call must have changed nothing: it failed. */
const play = (world: World, { op, a, b, c }: Step): boolean => {
  const { bench, bound } = world
  const { program, context } = bench
  const hardware = world.device(a)
  const device = bound.get(hardware)
  const pageTable = world.pick(b, 'ioas', 'hwpt-paging', 'hwpt-nested')
  const failed = (result: unknown): boolean => typeof result === 'string'
  switch (op) {
    case 0: {
      if (device !== undefined) return false
      const result = bindDevice(program.call(), context, hardware, { holdsContext: c % 2 === 0 })
      if (!(result instanceof Refusal)) bound.set(hardware, result)
      return result instanceof Refusal
    }
    case 1:
      if (device !== undefined) bench.unbind(device)
      bound.delete(hardware)
      return false
    case 2:
      return (
        device !== undefined && device.hwpt === undefined && failed(bench.attach(device, pageTable))
      )
    case 3:
      // A failed replace within one IOAS may lose reserved regions (03 §5.7): not "changes nothing".
      if (device !== undefined) bench.attach(device, pageTable)
      return false
    case 4:
      if (device !== undefined) bench.detach(device)
      return false
    case 5:
      return device !== undefined && failed(bench.attachPasid(device, (c % 3) + 1, pageTable))
    case 6:
      if (device !== undefined) bench.detachPasid(device, (c % 3) + 1)
      return false
    case 7:
      return failed(
        bench.hwpt({
          dev: world.pick(a, 'device'),
          pt: world.pick(b, 'ioas'),
          flags: c % 16,
          fault: world.pick(c, 'fault'),
        }),
      )
    case 8:
      return failed(
        bench.hwpt({
          dev: world.pick(a, 'device'),
          pt: world.pick(b, 'hwpt-paging', 'viommu'),
          flags: (c % 4) * 4,
          fault: world.pick(c, 'fault'),
          dataType: 0xdead,
          data: new Uint8Array(8),
        }),
      )
    case 9:
      return failed(bench.destroy(b))
    case 10:
      return program.ioctl(context, IOMMU_FAULT_QUEUE_ALLOC).outcome !== 0
    case 11:
      return (
        program.ioctl(context, IOMMU_VIOMMU_ALLOC, {
          type: 0xdead_beef,
          dev_id: objectId(world.pick(a, 'device')),
          hwpt_id: objectId(world.pick(b, 'hwpt-paging')),
          ...(c % 2 === 0
            ? {}
            : { data_len: 24, data_uptr: program.place(new Uint8Array(24)).address }),
        }).outcome !== 0
      )
    case 12:
      return (
        program.ioctl(context, IOMMU_VDEVICE_ALLOC, {
          viommu_id: objectId(world.pick(b, 'viommu')),
          dev_id: objectId(world.pick(a, 'device')),
          virt_id: BigInt(c % 3),
        }).outcome !== 0
      )
    case 13:
      return (
        program.ioctl(context, IOMMU_VEVENTQ_ALLOC, {
          viommu_id: objectId(world.pick(b, 'viommu')),
          type: (c % 2) + 1,
          veventq_depth: 1,
        }).outcome !== 0
      )
    case 14:
      return (
        program.ioctl(context, IOMMU_HW_QUEUE_ALLOC, {
          viommu_id: objectId(world.pick(b, 'viommu')),
          type: 0xdead_beef,
          index: c % 2,
          nesting_parent_iova: iova(0x1000000n),
          length: byteLength(0x1000n),
        }).outcome !== 0
      )
    case 15:
      return failed(
        bench.map(world.pick(b, 'ioas'), 0x1000000n + BigInt(c % 3) * 0x1000n, 0x1000n) || 0,
      )
    case 16:
      bench.unmap(world.pick(b, 'ioas'), 0x1000000n, 0x3000n)
      return false
    case 17:
      reportFault(program.machine.groups, hardware, {
        grpid: c % 2,
        perm: 1,
        address: 0n,
        last: c % 3 !== 0,
        ...(c % 5 === 0 ? { pasid: pasid((c % 3) + 1) } : {}),
      })
      return false
    case 18: {
      const descriptors = [...program.files.keys()].filter((number) => number !== 3)
      const closed = descriptors[c % Math.max(1, descriptors.length)]
      if (closed !== undefined) program.close(closed)
      return false
    }
    default:
      return (
        program.ioctl(context, IOMMU_HWPT_SET_DIRTY_TRACKING, {
          flags: c % 2,
          hwpt_id: objectId(world.pick(b, 'hwpt-paging')),
        }).outcome !== 0
      )
  }
}

it('leaves nothing behind, and a failed call changes nothing', () => {
  const step = fc.record({
    op: fc.nat(19),
    a: fc.nat(DEVICES - 1),
    b: fc.nat(14),
    c: fc.nat(1000),
    failAt: fc.oneof(
      { weight: 3, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 6 }) },
    ),
  })
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 80 }), (steps) => {
      const world = new World()
      const { bench } = world
      const { program, context, driver } = bench
      // Something to stand on: an IOAS with memory, two bound devices.
      bench.map(bench.ioas(), 0x1000000n, 0x1000n)
      bench.ioas()
      for (const a of [0, 1]) play(world, { op: 0, a, b: 0, c: 0, failAt: 0 })
      bench.hwpt({ dev: 3, pt: 1, flags: 9 })
      bench.viommu(3, 5)
      for (const each of steps) {
        const before = world.view()
        program.injector.arm(1, each.failAt)
        const mustBeUnchanged = play(world, each)
        program.injector.arm(1, 0)
        if (mustBeUnchanged) expect(world.view()).toEqual(before)
      }
      for (const device of world.bound.values()) bench.unbind(device)
      program.closeAll()
      expect(context.released).toBe(true)
      expect(context.objects.size - tombstones(context)).toBe(0)
      expect(driver.domains.size).toBe(0)
      expect(program.machine.frames.isEmpty).toBe(true)
      for (const hardware of world.hardware) {
        const state = program.machine.groups.of(hardware)
        expect([state.owner, state.claims, state.rid, state.pasids.size]).toEqual([
          undefined,
          0,
          undefined,
          0,
        ])
        expect(state.domain).toBe(driver.defaultDomain)
      }
    }),
    { numRuns: 200 },
  )
})

/** IDs that are taken but name nothing. */
const tombstones = ({ objects }: Bench['context']): number => objects.size - [...objects].length
