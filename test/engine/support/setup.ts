/** The starting points of the worked examples of 03 §17 and 04 §12. */
import {
  byteLength,
  iova,
  type ObjectId,
  objectId,
  type Pasid,
  pasid,
} from '../../../src/abi/brands.ts'
import { IOMMU_DESTROY } from '../../../src/abi/iommufd/context.ts'
import { IOMMU_FAULT_QUEUE_ALLOC } from '../../../src/abi/iommufd/events.ts'
import { IOMMU_HWPT_ALLOC } from '../../../src/abi/iommufd/hwpt.ts'
import {
  IOMMU_IOAS_ALLOC,
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_UNMAP,
  iommu_iova_range,
} from '../../../src/abi/iommufd/ioas.ts'
import { IOMMU_VIOMMU_ALLOC } from '../../../src/abi/iommufd/viommu.ts'
import { attachDevice, detachDevice, replaceDevice } from '../../../src/engine/attach.ts'
import { attachPasid, detachPasid, replacePasid } from '../../../src/engine/attach-pasid.ts'
import type { Context } from '../../../src/engine/context.ts'
import { bindDevice, Device, unbindDevice } from '../../../src/engine/device.ts'
import { type Hwpt, HwptPaging } from '../../../src/engine/hwpt.ts'
import { Machine } from '../../../src/engine/machine.ts'
import { Refusal, type Result } from '../../../src/engine/reason.ts'
import { type Outcome, outcomeOf, Program } from './program.ts'
import { mockLike, type TestDevice, TestDriver, TestIommu, TestPaging } from './test-iommu.ts'

/** The ID that an attach or replace answers, or the errno. */
export type Used = number | Exclude<Outcome, 0>

const used = (result: Result<Hwpt>): Used => {
  if (!(result instanceof Refusal)) return result.id
  const outcome = outcomeOf(result)
  if (outcome === 0) throw new Error('a refusal without errno')
  return outcome
}

/** A context on a machine with one IOMMU, and the calls that tests make, in short. */
export class Bench {
  readonly program: Program
  readonly iommu: TestIommu
  readonly driver: TestDriver
  readonly context: Context

  constructor(
    iommu: TestIommu = new TestIommu(),
    options: ConstructorParameters<typeof Machine>[0] = {},
  ) {
    this.iommu = iommu
    this.driver = iommu.driver
    this.program = new Program(new Machine(options))
    this.context = this.program.open()
  }

  ioas(): ObjectId {
    return this.program.must(this.context, IOMMU_IOAS_ALLOC).out_ioas_id
  }

  bind(device: TestDevice, holdsContext = true): Device {
    const result = bindDevice(this.program.call(), this.context, device, { holdsContext })
    if (result instanceof Refusal) throw new Error(result.say())
    return result
  }

  unbind(device: Device): void {
    unbindDevice(device)
  }

  /** As VFIO does it: a second attach is a replace. */
  attach(device: Device, ptId: number): Used {
    const call = this.program.call()
    return used(
      device.hwpt === undefined
        ? attachDevice(call, device, ptId)
        : replaceDevice(call, device, ptId),
    )
  }

  detach(device: Device): void {
    detachDevice(device)
  }

  attachPasid(device: Device, number: number, ptId: number): Used {
    const call = this.program.call()
    const id: Pasid = pasid(number)
    return used(
      device.hwptOfPasid(id) === undefined
        ? attachPasid(call, device, id, ptId)
        : replacePasid(call, device, id, ptId),
    )
  }

  detachPasid(device: Device, number: number): void {
    detachPasid(device, pasid(number))
  }

  destroy(id: number): Outcome {
    return this.program.ioctl(this.context, IOMMU_DESTROY, { id: objectId(id) }).outcome
  }

  /** HWPT_ALLOC: the new ID or the errno. */
  hwpt(args: {
    readonly dev: number
    readonly pt: number
    readonly flags?: number
    readonly dataType?: number
    readonly data?: Uint8Array
    readonly fault?: number
  }): Used {
    const { outcome, after } = this.program.ioctl(this.context, IOMMU_HWPT_ALLOC, {
      dev_id: objectId(args.dev),
      pt_id: objectId(args.pt),
      flags: args.flags ?? 0,
      fault_id: objectId(args.fault ?? 0),
      ...(args.data === undefined
        ? {}
        : {
            data_type: args.dataType ?? 0,
            data_len: args.data.length,
            data_uptr: this.program.place(args.data).address,
          }),
    })
    return outcome === 0 ? after.out_hwpt_id : outcome
  }

  faultQueue(): { id: number; fd: number } {
    const { out_fault_id: id, out_fault_fd: fd } = this.program.must(
      this.context,
      IOMMU_FAULT_QUEUE_ALLOC,
    )
    return { id, fd }
  }

  viommu(dev: number, hwpt: number): number {
    return this.program.must(this.context, IOMMU_VIOMMU_ALLOC, {
      type: 0xdead_beef,
      dev_id: objectId(dev),
      hwpt_id: objectId(hwpt),
    }).out_viommu_id
  }

  /** IOAS_MAP at a fixed IOVA of fresh memory, or of `va`. */
  map(
    ioas: number,
    at: bigint,
    length: bigint,
    options: { va?: bigint; prot?: number } = {},
  ): Outcome {
    const va = options.va ?? this.program.place(Number(length)).address
    return this.program.ioctl(this.context, IOMMU_IOAS_MAP, {
      flags: 1 | (options.prot ?? 6),
      ioas_id: objectId(ioas),
      user_va: va as never,
      length: byteLength(length),
      iova: iova(at),
    }).outcome
  }

  unmap(ioas: number, at: bigint, length: bigint): Outcome {
    return this.program.ioctl(this.context, IOMMU_IOAS_UNMAP, {
      ioas_id: objectId(ioas),
      iova: iova(at),
      length: byteLength(length),
    }).outcome
  }

  /** IOVA_RANGES: `[[start, last], ...]` and the alignment. */
  ranges(ioas: number): { ranges: [bigint, bigint][]; alignment: bigint } {
    const room = this.program.place(iommu_iova_range.size * 8)
    const { num_iovas, out_iova_alignment } = this.program.must(
      this.context,
      IOMMU_IOAS_IOVA_RANGES,
      { ioas_id: objectId(ioas), num_iovas: 8, allowed_iovas: room.address },
    )
    const ranges = Array.from({ length: num_iovas }, (_, index): [bigint, bigint] => {
      const at = index * iommu_iova_range.size
      const { start, last } = iommu_iova_range.decode(
        room.bytes.subarray(at, at + iommu_iova_range.size),
      )
      return [start, last]
    })
    return { ranges, alignment: out_iova_alignment }
  }

  /** The domain of a paging HWPT. */
  domain(hwptId: Used): TestPaging {
    const hwpt = this.context.objects.peek(Number(hwptId))
    if (hwpt instanceof HwptPaging && hwpt.domain instanceof TestPaging) return hwpt.domain
    throw new Error(`${hwptId} is no paging HWPT of the test driver`)
  }

  /** What lives in the context, as `type id`. */
  objects(): string[] {
    return [...this.context.objects].map(({ type, id }) => `${type} ${id}`)
  }

  /** Unbinds every device and closes every descriptor, as the end of all processes does. */
  finish(): void {
    for (const object of [...this.context.objects])
      if (object instanceof Device) unbindDevice(object)
    this.program.closeAll()
  }
}

export const EVERYTHING: [bigint, bigint] = [0n, 0xffff_ffff_ffff_ffffn]

/** An IOMMU with the mock's numbers; devices without reserved regions, not enforcing, without ATS. */
export const mockIommu = (): TestIommu => new TestIommu(new TestDriver(mockLike), 'mock')

export const mockDevice = (iommu: TestIommu, name: string): TestDevice =>
  iommu.device(name, { regions: [], without: ['enforce-coherency', 'ats'] })

/** S1 of 04 §12 without the mock's own object: IOAS 1, DEVICE 2, automatic HWPT 3. */
export const s1 = () => {
  const bench = new Bench(mockIommu())
  const ioas = bench.ioas()
  const device = bench.bind(mockDevice(bench.iommu, 'D'), false)
  const auto = bench.attach(device, ioas)
  return { bench, ioas, device, auto }
}

/** S2: a nesting parent 4, a vIOMMU 5 and a nested HWPT 6 on it. */
export const s2 = () => {
  const { bench, ioas, device, auto } = s1()
  const parent = Number(bench.hwpt({ dev: device.id, pt: ioas, flags: 1 }))
  const viommu = bench.viommu(device.id, parent)
  const nested = bench.hwpt({
    dev: device.id,
    pt: viommu,
    dataType: 0xdead,
    data: new Uint8Array(8),
  })
  return { bench, ioas, device, auto, parent, viommu, nested: Number(nested) }
}
