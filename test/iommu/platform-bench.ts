/** A machine with one device behind a platform's IOMMU, and a client that speaks the worked examples' steps. */
import { expect } from 'vitest'
import { oneIoas } from '../../conformance/cases/mock.ts'
import { SimulatedProcess } from '../../conformance/doors/simulated-process.ts'
import {
  type Expectation,
  type FieldValues,
  fails,
  ok,
  problemsOf,
  ranges,
  Steps,
} from '../../conformance/example.ts'
import { ARRAY, B, STRUCT } from '../../conformance/places.ts'
import { type ErrnoName, errnoName } from '../../src/abi/errno.ts'
import { attachDevice, replaceDevice } from '../../src/engine/attach.ts'
import { Context } from '../../src/engine/context.ts'
import { bindDevice, type Device } from '../../src/engine/device.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { HwptPaging } from '../../src/engine/hwpt.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'
import {
  PlatformDevice,
  type PlatformDeviceOptions,
  PlatformGroup,
} from '../../src/iommu/platform-device.ts'
import { type PlatformIommu, platformNamed } from '../../src/iommu/platforms.ts'
import { TableDomain } from '../../src/iommu/table-domain.ts'
import { TestBench } from '../../src/iommu/test/test-bench.ts'
import { testCommand } from '../../src/iommu/test/test-command.ts'

const RW = 6

/** A machine of one platform with one device, bound (object 2) to a context with IOAS 1. */
export class Bench {
  readonly events: EngineEvent[] = []
  readonly testBench = new TestBench()
  readonly machine = new Machine({
    testInterface: true,
    commands: [testCommand(this.testBench)],
    observer: { event: (event) => this.events.push(event) },
  })
  readonly process = new SimulatedProcess(this.machine)
  readonly iommuDevice: PlatformDevice
  readonly device: Device

  constructor(platform: string | PlatformIommu, options: Partial<PlatformDeviceOptions> = {}) {
    const iommu = typeof platform === 'string' ? platformNamed(platform)?.create() : platform
    if (iommu === undefined) throw new Error(`no platform ${platform}`)
    const { instance } = iommu
    const group = new PlatformGroup(1)
    const name = '0000:00:03.0'
    this.iommuDevice = new PlatformDevice(instance, group, { name, ...options })
    this.play((t) => {
      t.memory(STRUCT, 0x2000n, 'rw')
      t.memory(ARRAY, 0x2000n, 'rw')
      t.buffer()
      oneIoas(t)
    })
    const device = bindDevice(this.process.call(), this.context, this.iommuDevice)
    if (device instanceof Refusal) throw new Error(device.say())
    this.device = device
  }

  get context(): Context {
    const file = this.process.description('0')?.ours
    if (!(file instanceof Context)) throw new Error('slot 0 is no context')
    return file
  }

  /** Plays steps and checks every answer. */
  play(play: (t: Steps) => void): void {
    const t = new Steps()
    play(t)
    const transcript = t.lines
      .map((line) => this.process.execute(line))
      .filter((a) => a !== undefined)
    expect(
      problemsOf({ title: '', needs: [], script: t.lines, checks: t.checks }, transcript),
    ).toEqual([])
  }

  /** Why the last ioctl was refused. */
  get lastRefusal(): string | undefined {
    const call = this.events.findLast((event) => event.type === 'call')
    return call?.type === 'call' && call.result instanceof Refusal ? call.result.code : undefined
  }

  attach(ptId = 1): number | string {
    return outcome(attachDevice(this.process.call(), this.device, ptId))
  }

  replace(ptId: number): number | string {
    return outcome(replaceDevice(this.process.call(), this.device, ptId))
  }

  ranges(...expected: [bigint, bigint][]): void {
    this.play((t) => {
      const num_iovas = expected.length
      t.step(
        'IOAS_IOVA_RANGES',
        { ioas_id: 1, num_iovas: 8, allowed_iovas: ARRAY },
        ok({ num_iovas, out_iova_alignment: expected.length === 0 ? 1 : 4096 }),
      )
      t.sees(ARRAY, ranges(...expected))
    })
  }

  hwptAlloc(fields: FieldValues, wanted: Expectation): void {
    this.play((t) => t.step('HWPT_ALLOC', { dev_id: 2, pt_id: 1, ...fields }, wanted))
  }

  map(at: bigint, wanted: ErrnoName | 'ok', { flags = RW, length = 0x1000n } = {}): void {
    const expected = wanted === 'ok' ? ok() : fails(wanted)
    this.play((t) =>
      t.step('IOAS_MAP', { flags: flags | 1, ioas_id: 1, user_va: B, length, iova: at }, expected),
    )
  }

  domain(id: number): TableDomain {
    const hwpt = this.context.objects.peek(id)
    if (!(hwpt instanceof HwptPaging) || !(hwpt.domain instanceof TableDomain))
      throw new Error(`${id} is no page table`)
    return hwpt.domain
  }
}

const outcome = (result: Refusal | { id: number }): number | string =>
  result instanceof Refusal ? errnoName(result.errno) : result.id

export const made = (out_hwpt_id: number): Expectation => ok({ out_hwpt_id })
