/**
 * The engine alone: mapping, unmapping, choosing an IOVA and looking one up, with few and with many
 * areas. Areas are one page each and every second page is free, so that there are as many gaps.
 */
import { byteLength, type Iova, iova, type ObjectId, userVa } from '../src/abi/brands.ts'
import { IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP, iommu_ioas_alloc } from '../src/abi/iommufd/ioas.ts'
import { decode, encode } from '../src/abi/layout.ts'
import type { Context } from '../src/engine/context.ts'
import { Ioas } from '../src/engine/ioas.ts'
import { Machine } from '../src/engine/machine.ts'
import { offsetOf, pageOf } from '../src/engine/page-address.ts'
import { Refusal, type Result } from '../src/engine/reason.ts'
import { measure, type Operation } from './measure.ts'
import { type Figure, type Report, ratio, time } from './report.ts'
import { type SimulatedProgram, simulatedProgram } from './simulated-program.ts'

const SIZES = [1_000, 100_000, 1_000_000] as const
const BATCH = 500
const PAGE = 4096n
const TITLE = 'Engine alone'

/** A refusal in a benchmark means that it measures something else than it says. */
const must = <T>(result: Result<T>): T => {
  if (result instanceof Refusal) throw new Error(`refused: ${result.say()}`)
  return result
}

class World {
  readonly program: SimulatedProgram = simulatedProgram()
  readonly context: Context
  readonly ioas: Ioas
  readonly areas: number
  /** Free slots between areas, scattered: the IOVAs that a batch maps and unmaps. */
  readonly scattered: Iova[]
  readonly #length = byteLength(PAGE)

  constructor(areas: number) {
    this.areas = areas
    this.context = new Machine().open('/dev/iommu', this.program.process)
    this.ioas = this.#allocate()
    for (let i = 0; i < areas; i++) this.map(iova(BigInt(i) * 2n * PAGE))
    this.scattered = Array.from({ length: BATCH }, (_, i) =>
      iova((BigInt((i * 7919) % areas) * 2n + 1n) * PAGE),
    )
  }

  #allocate(): Ioas {
    const { scratch, scratchAddress, call } = this.program
    encode(iommu_ioas_alloc, { size: iommu_ioas_alloc.size }, scratch)
    must(this.context.ioctl(call, IOMMU_IOAS_ALLOC.request, scratchAddress))
    return this.find(decode(iommu_ioas_alloc, scratch).out_ioas_id)
  }

  find(id: ObjectId): Ioas {
    const object = this.context.objects.peek(id)
    if (!(object instanceof Ioas)) throw new Error('IOAS_ALLOC made no IOAS')
    return object
  }

  map(at?: Iova): Iova {
    return must(
      this.ioas.map(this.program.call, {
        va: userVa(0x7f00_0000_0000n),
        length: this.#length,
        readable: true,
        writable: true,
        ...(at === undefined ? {} : { iova: at }),
      }),
    )
  }

  /** The whole call: structure in, check, map, structure out. */
  mapByIoctl(at: Iova): void {
    const { scratch, scratchAddress, call } = this.program
    encode(
      IOMMU_IOAS_MAP.struct,
      {
        size: IOMMU_IOAS_MAP.struct.size,
        flags: 7,
        ioas_id: this.ioas.id,
        __reserved: 0,
        user_va: userVa(0x7f00_0000_0000n),
        length: this.#length,
        iova: at,
      },
      scratch,
    )
    must(this.context.ioctl(call, IOMMU_IOAS_MAP.request, scratchAddress))
  }

  /** As the engine finds the area of an access. */
  lookUp(at: Iova): void {
    const { areas } = this.ioas
    if (!areas.seek(pageOf(at), offsetOf(at)) || areas.firstPage > pageOf(at))
      throw new Error('no area there')
  }

  unmap(start: Iova): void {
    const { refusal, removed } = this.ioas.unmap({ start, last: iova(start + PAGE - 1n) })
    if (refusal !== undefined || removed !== PAGE) throw new Error('the area was not there')
  }
}

const operationsOn = (world: World): Operation[] => {
  const each = (operation: (at: Iova) => void) => (): void => {
    for (const at of world.scattered) operation(at)
  }
  const chosen: Iova[] = []
  const mapAll = each((at) => world.map(at))
  const unmapAll = each((at) => world.unmap(at))
  return [
    { name: 'map at an IOVA', batch: BATCH, run: mapAll, after: unmapAll },
    { name: 'unmap', batch: BATCH, before: mapAll, run: unmapAll },
    {
      name: 'map, IOVA chosen',
      batch: BATCH,
      run: () => {
        for (let i = 0; i < BATCH; i++) chosen.push(world.map())
      },
      after: () => {
        for (const at of chosen.splice(0)) world.unmap(at)
      },
    },
    {
      name: 'look up an IOVA',
      batch: BATCH,
      run: () => {
        for (const at of world.scattered) world.lookUp(iova(at - 1n))
      },
    },
    {
      name: 'map at an IOVA, whole ioctl',
      batch: BATCH,
      run: each((at) => world.mapByIoctl(at)),
      after: unmapAll,
    },
  ]
}

/** Bytes in use, counted after everything unused has been collected. */
const bytesInUse = (): number => {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

interface Found {
  readonly times: ReadonlyMap<string, number>
  readonly bytesPerArea: number
}

const measureAt = async (areas: number): Promise<Found> => {
  const before = bytesInUse()
  const world = new World(areas)
  const bytesPerArea = (bytesInUse() - before) / areas
  return { times: await measure(operationsOn(world)), bytesPerArea }
}

const sizeName = (areas: number): string =>
  areas >= 1_000_000 ? `${areas / 1_000_000}M` : `${areas / 1000}k`

export const benchEngine = async (): Promise<Report[]> => {
  const found = new Map<number, Found>()
  try {
    // Once without looking, so that the first size does not pay for compiling.
    await measureAt(SIZES[0])
    for (const size of SIZES) found.set(size, await measureAt(size))
  } catch (error) {
    return [{ title: TITLE, skipped: String(error) }]
  }
  const [few, , many] = SIZES
  const names = [...(found.get(few)?.times.keys() ?? [])]
  const at = (size: number, name: string): number => found.get(size)?.times.get(name) ?? Number.NaN
  const figures: Figure[] = names.map((name) => ({
    name,
    headline: ratio(at(many, name) / at(few, name)),
    aim: '(aim: <= 2.50x)',
    detail: SIZES.map((size) => `${sizeName(size)} areas ${time(at(size, name))}`).join(', '),
  }))
  const bytes = (size: number): string =>
    `${(found.get(size)?.bytesPerArea ?? Number.NaN).toFixed(0)} B`
  return [
    { title: `${TITLE}: cost at ${sizeName(many)} areas against ${sizeName(few)}`, figures },
    {
      title: 'Memory of an area',
      figures: [
        {
          name: `at ${sizeName(many)} areas`,
          headline: bytes(many),
          aim: '(aim: < 250 B)',
          detail: `at 100k areas ${bytes(100_000)}`,
        },
      ],
    },
  ]
}
