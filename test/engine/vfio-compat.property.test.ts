/**
 * MAP_DMA and UNMAP_DMA against a model that says what 02 §3.5 and §3.6 say in the plainest way: a list
 * of mappings. Small ranges, so that they meet often; both modes; the ends of the address space.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SimulatedProcess } from '../../conformance/doors/simulated-process.ts'
import { userVa } from '../../src/abi/brands.ts'
import { Errno } from '../../src/abi/errno.ts'
import {
  IOMMU_OPTION,
  IOMMU_VFIO_IOAS,
  IOMMUFD_OPTION,
  IOMMUFD_OPTION_OPS,
  IOMMUFD_VFIO_IOAS_OP,
} from '../../src/abi/iommufd/context.ts'
import { IOMMU_IOAS_ALLOC } from '../../src/abi/iommufd/ioas.ts'
import type { Fields, Struct } from '../../src/abi/layout.ts'
import {
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
} from '../../src/abi/vfio/container.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'

const MAX = 0xffff_ffff_ffff_ffffn
const PAGE = 4096n
/** Byte patterns differ so that fields that are not written show. */
const AT = userVa(0x7000_0000n)

/** The container of a program with one compat IOAS; each call returns its answer and the struct after it. */
class Container {
  readonly #process: SimulatedProcess
  readonly #context

  constructor() {
    const machine = new Machine()
    this.#process = new SimulatedProcess(machine)
    this.#process.execute(`mmap ${AT} 4096 rw private`)
    this.#context = machine.open('/dev/iommu', this.#process)
    this.call(IOMMU_IOAS_ALLOC, { size: 12 })
    const op = IOMMUFD_VFIO_IOAS_OP.IOMMU_VFIO_IOAS_SET
    this.call(IOMMU_VFIO_IOAS, { size: 12, ioas_id: 1, op })
  }

  call<F extends Fields>(
    { request, struct }: { request: number; struct: Struct<F> },
    value: Record<string, number | bigint>,
  ): { answer: number; after: Record<string, unknown> } {
    const { addressSpace } = this.#process
    // The names are those of the structure: the tests below are the only callers.
    addressSpace.write(AT, struct.encode(value as never))
    const answer = this.value(request, AT)
    return { answer, after: struct.decode(addressSpace.read(AT, struct.size)) }
  }

  value(request: number, argument: bigint): number {
    const result = this.#context.ioctl(this.#process.call(), request, userVa(argument))
    return result instanceof Refusal ? -result.errno : result
  }
}

interface Mapping {
  readonly start: bigint
  readonly last: bigint
  /** Where its first byte lies in the process. */
  readonly vaddr: bigint
}

class Model {
  mappings: Mapping[] = []
  split = false

  get alignment(): bigint {
    return this.split ? PAGE : 1n
  }

  map(vaddr: bigint, iova: bigint, size: bigint): number {
    const { alignment } = this
    if (vaddr + size > MAX) return -Errno.EOVERFLOW
    if (size === 0n || size > 0xffff_ffff_ffff_efffn) return -Errno.EINVAL
    if (size % alignment !== 0n || iova % alignment !== 0n) return -Errno.EINVAL
    const last = iova + size - 1n
    if (last > MAX) return -Errno.EOVERFLOW
    if (this.mappings.some((m) => m.start <= last && iova <= m.last)) return -Errno.EEXIST
    if ((vaddr % PAGE) % alignment !== 0n) return -Errno.EINVAL
    // 01 §12.2, "Pathological lengths".
    if ((vaddr % PAGE) + size > MAX + 1n - PAGE) return -Errno.EOVERFLOW
    this.mappings.push({ start: iova, last, vaddr })
    this.mappings.sort((a, b) => (a.start < b.start ? -1 : 1))
    return 0
  }

  /** The answer, and the size written back or undefined where nothing is. */
  unmap(iova: bigint, size: bigint): { answer: number; size: bigint | undefined } {
    if (this.split) {
      const points = [BigInt.asUintN(64, iova + size - 1n), ...(iova === 0n ? [] : [iova - 1n])]
      for (const point of points)
        if (!this.#cut(point)) return { answer: -Errno.EINVAL, size: undefined }
    }
    if (size === 0n) return { answer: -Errno.EINVAL, size: 0n }
    const last = iova + size - 1n
    if (last > MAX) return { answer: -Errno.EOVERFLOW, size: 0n }
    let removed = 0n
    for (const mapping of this.mappings.filter((m) => m.start <= last && iova <= m.last)) {
      if (mapping.start < iova || mapping.last > last)
        return { answer: -Errno.ENOENT, size: removed }
      this.mappings = this.mappings.filter((other) => other !== mapping)
      removed += mapping.last - mapping.start + 1n
    }
    return { answer: 0, size: removed }
  }

  unmapAll(): bigint {
    const total = this.mappings.reduce((sum, m) => sum + m.last - m.start + 1n, 0n)
    this.mappings = []
    return total
  }

  setSplit(): number {
    if (this.split) return 0
    const conforms = this.mappings.every(
      ({ start, last, vaddr }) =>
        start % PAGE === 0n && (last + 1n) % PAGE === 0n && vaddr % PAGE === 0n,
    )
    if (!conforms) return -Errno.EADDRINUSE
    this.split = true
    return 0
  }

  #cut(point: bigint): boolean {
    const mapping = this.mappings.find((m) => m.start <= point && point <= m.last)
    if (mapping === undefined || point === mapping.start || point === mapping.last) return true
    const next = point + 1n
    const vaddr = mapping.vaddr + (next - mapping.start)
    if (next % this.alignment !== 0n || (vaddr % PAGE) % this.alignment !== 0n) return false
    this.mappings = this.mappings.flatMap((m) =>
      m === mapping
        ? [
            { ...m, last: point },
            { ...m, start: next, vaddr },
          ]
        : [m],
    )
    return true
  }
}

/** Mostly whole pages, often a little off, sometimes at the end of the address space. */
const address = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 15 }).map((page) => BigInt(page) * PAGE) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 0xffff }).map(BigInt) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0x3000 }).map((back) => MAX - BigInt(back)) },
)
const size = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 6 }).map((pages) => BigInt(pages) * PAGE) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 0x4000 }).map(BigInt) },
  { weight: 1, arbitrary: fc.constantFrom(MAX, MAX - 1n, MAX - PAGE, 1n) },
)

const operation = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant('map' as const), address, size, address) },
  { weight: 6, arbitrary: fc.tuple(fc.constant('unmap' as const), address, size) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('unmap-all' as const)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('type1' as const)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('large-pages' as const)) },
)

const ALL = 2
const RW = 3

test('MAP_DMA and UNMAP_DMA answer as the model does, in both modes', () => {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 1, maxLength: 40 }), (operations) => {
      const container = new Container()
      const model = new Model()
      for (const step of operations) {
        switch (step[0]) {
          case 'map': {
            const [, iova, length, vaddr] = step
            const args = { argsz: 32, flags: RW, vaddr, iova, size: length }
            const { answer } = container.call(VFIO_IOMMU_MAP_DMA, args)
            expect(answer).toBe(model.map(vaddr, iova, length))
            break
          }
          case 'unmap': {
            const [, iova, length] = step
            const args = { argsz: 24, flags: 0, iova, size: length }
            const { answer, after } = container.call(VFIO_IOMMU_UNMAP_DMA, args)
            const wanted = model.unmap(iova, length)
            expect({ answer, size: after['size'] }).toEqual({
              answer: wanted.answer,
              size: wanted.size ?? length,
            })
            break
          }
          case 'unmap-all': {
            const { answer, after } = container.call(VFIO_IOMMU_UNMAP_DMA, {
              argsz: 24,
              flags: ALL,
            })
            expect({ answer, size: after['size'] }).toEqual({ answer: 0, size: model.unmapAll() })
            break
          }
          case 'type1':
            expect(container.value(VFIO_SET_IOMMU.request, 1n)).toBe(model.setSplit())
            break
          case 'large-pages': {
            const { answer } = container.call(IOMMU_OPTION, {
              size: 24,
              option_id: IOMMUFD_OPTION.IOMMU_OPTION_HUGE_PAGES,
              op: IOMMUFD_OPTION_OPS.IOMMU_OPTION_OP_SET,
              object_id: 1,
              val64: 1n,
            })
            expect(answer).toBe(0)
            model.split = false
            break
          }
        }
      }
    }),
    { numRuns: 500 },
  )
})
