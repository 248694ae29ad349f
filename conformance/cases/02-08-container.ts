/** 02 §8, the examples that need no device: the compat IOAS and the container ioctls. */
import { example, fails, ok, returns, type Steps, words } from '../example.ts'
import { B, MAX, PAGE, STRUCT, UNMAPPED } from '../places.ts'
import { F, R } from './flags.ts'

const GET_API_VERSION = 0x3b64
const CHECK_EXTENSION = 0x3b65
const SET_IOMMU = 0x3b66
const DIRTY_PAGES = 0x3b75

const [READ, WRITE] = [1, 2]
const RW = READ | WRITE
const ALL = 2
const [GET, SET, CLEAR] = [0, 1, 2]

const vfioIoas = (t: Steps, op: number, ioas_id: number, wanted = ok()): void =>
  t.step('VFIO_IOAS', { op, ioas_id }, wanted)

const setIommu = (t: Steps, type: bigint, wanted = ok()): void => t.ioctl(SET_IOMMU, type, wanted)

const mapDma = (
  t: Steps,
  vaddr: bigint,
  iova: bigint,
  size: bigint,
  wanted = ok(),
  fields = {},
): void => t.step('VFIO_IOMMU_MAP_DMA', { flags: RW, vaddr, iova, size, ...fields }, wanted)

const unmapDma = (t: Steps, iova: bigint, size: bigint, wanted = ok(), fields = {}): void =>
  t.step('VFIO_IOMMU_UNMAP_DMA', { iova, size, ...fields }, wanted)

/** An IOAS with ID 1 that is the compat IOAS. */
const compatIoas = (t: Steps, type?: bigint): void => {
  t.open()
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  vfioIoas(t, SET, 1)
  if (type !== undefined) setIommu(t, type)
}

const HUGE_PAGES = 1
const hugePagesAre = (t: Steps, value: bigint): void =>
  t.step('OPTION', { option_id: HUGE_PAGES, op: 1, object_id: 1, val64: 9n }, ok({ val64: value }))

export const e1 = example('02 §8 E1 Fresh iommufd', (t) => {
  t.open()
  t.ioctl(GET_API_VERSION, 0n, ok())
  for (const [extension, answer] of [
    [1n, 1],
    [3n, 1],
    [9n, 1],
    [2n, 0],
    [5n, 0],
    [6n, 0],
    [7n, 0],
    [10n, 0],
    [99n, 0],
  ] as const)
    t.ioctl(CHECK_EXTENSION, extension, returns(answer))
  t.ioctl(CHECK_EXTENSION, 4n, fails('ENODEV'))
  setIommu(t, 1n, fails('ENODEV'))
  setIommu(t, 3n, fails('ENODEV'))
  setIommu(t, 6n, fails('EINVAL'))
  setIommu(t, 8n, fails('EINVAL'))
  t.step('VFIO_IOMMU_GET_INFO', { argsz: 24 }, fails('ENODEV'))
  t.step('VFIO_IOMMU_GET_INFO', { argsz: 15 }, fails('EINVAL'))
  t.ioctl(0x3b70, 0n, fails('EFAULT'))
  mapDma(t, B, 0n, PAGE, fails('EINVAL'), { argsz: 1 })
  mapDma(t, B, 0n, PAGE, fails('EINVAL'), { flags: 0x80000000 })
  mapDma(t, B, 0n, PAGE, fails('ENODEV'))
  unmapDma(t, 0n, PAGE, fails('EINVAL'), { flags: 1 })
  unmapDma(t, 0n, PAGE, fails('ENODEV'))
  unmapDma(t, 0x1000n, 0n, fails('ENODEV'), { flags: ALL })
  t.ioctl(DIRTY_PAGES, STRUCT, fails('ENOTTY'))
  t.ioctl(DIRTY_PAGES, UNMAPPED, fails('ENOTTY'))
  t.ioctl(0x3b67, STRUCT, fails('ENOTTY'))
})

export const e2 = example('02 §8 E2 IOMMU_VFIO_IOAS', (t) => {
  t.open()
  vfioIoas(t, GET, 0, fails('ENODEV'))
  vfioIoas(t, CLEAR, 0)
  vfioIoas(t, SET, 0, fails('ENOENT'))
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  vfioIoas(t, SET, 1)
  vfioIoas(t, GET, 0, ok({ ioas_id: 1 }))
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }))
  vfioIoas(t, SET, 2)
  vfioIoas(t, GET, 0, ok({ ioas_id: 2 }))
  vfioIoas(t, SET, 77, fails('ENOENT'))
  vfioIoas(t, GET, 0, ok({ ioas_id: 2 }))
  t.step('DESTROY', { id: 2 }, ok())
  vfioIoas(t, GET, 0, fails('ENODEV'))
  vfioIoas(t, SET, 1)
  vfioIoas(t, CLEAR, 0)
  vfioIoas(t, CLEAR, 0)
  vfioIoas(t, GET, 0, fails('ENODEV'))
  t.step('DESTROY', { id: 1 }, ok())
})

export const e3 = example('02 §8 E3 IOMMU_VFIO_IOAS framing', (t) => {
  t.open()
  t.step('VFIO_IOAS', { size: 8 }, fails('EINVAL'))
  t.step('VFIO_IOAS', { op: 3 }, fails('EOPNOTSUPP'))
  t.step('VFIO_IOAS', { op: GET, __reserved: 1 }, fails('EOPNOTSUPP'))
  t.step('VFIO_IOAS', { size: 16 }, fails('E2BIG'), { tail: [1, 0, 0, 0] })
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  vfioIoas(t, SET, 1)
  t.step('VFIO_IOAS', { size: 16, op: GET }, ok({ ioas_id: 1 }), { tail: [0, 0, 0, 0] })
})

export const getInfo = example('02 §3.4 VFIO_IOMMU_GET_INFO of a fresh compat IOAS', (t) => {
  compatIoas(t)
  const fixed = (argsz: number, cap_offset: number): number[] => [
    ...words(argsz, 3, 0xfffff000, 0xffffffff, cap_offset, 0),
  ]
  const available = (next: number): number[] => [...words(0x00010003, next, 0xffffffff)]
  const untouched = (length: number): number[] => new Array<number>(length).fill(0xaa)
  const range = [...words(0, 0, 0xffffffff, 0xffffffff)]
  const info = (argsz: number, wanted: number[]): void => {
    t.fill(STRUCT, 256n, 0xaa)
    t.poke(STRUCT, words(argsz))
    t.ioctl(0x3b70, STRUCT, ok())
    t.sees(STRUCT, [...wanted, ...untouched(256 - wanted.length)])
  }
  info(16, fixed(72, 0).slice(0, 16))
  info(18, fixed(72, 0).slice(0, 18))
  info(24, fixed(72, 0))
  info(35, fixed(72, 0))
  info(36, [...fixed(72, 0), ...available(0)])
  info(40, [...fixed(72, 0), ...available(40)])
  info(71, [...fixed(72, 0), ...available(40)])
  const whole = [
    ...fixed(72, 24),
    ...available(40),
    ...untouched(4),
    ...words(0x00010001, 0, 1, 0),
    ...range,
  ]
  info(72, whole)
  info(200, whole)
})

export const e8 = example('02 §8 E8 Byte-granular maps and TYPE1', (t) => {
  compatIoas(t)
  mapDma(t, B + 1n, 0x1001n, 3n)
  setIommu(t, 1n, fails('EADDRINUSE'))
  hugePagesAre(t, 1n)
  unmapDma(t, 0x1001n, 3n)
  setIommu(t, 1n)
  mapDma(t, B + 1n, 0x1001n, 3n, fails('EINVAL'))
  mapDma(t, B, 0x1000n, 0x1000n)
})

export const e9 = example('02 §8 E9 Split mode', (t) => {
  compatIoas(t, 1n)
  mapDma(t, B, 0x10000n, 0x4000n)
  unmapDma(t, 0x11000n, 0x2000n)
  unmapDma(t, 0x11000n, 0x2000n, ok({ size: 0n }))
  unmapDma(t, 0x10800n, 0x400n, fails('EINVAL'))
  t.step('IOAS_UNMAP', { ioas_id: 1, iova: 0x10000n, length: 0x800n }, fails('ENOENT'))
  unmapDma(t, 0x10000n, 0x4000n, ok({ size: 0x2000n }))
})

export const e10 = example('02 §8 E10 v2 mode, cut mappings', (t) => {
  compatIoas(t, 3n)
  mapDma(t, B, 0x10000n, 0x1000n)
  mapDma(t, B + 0x1000n, 0x11000n, 0x2000n)
  unmapDma(t, 0x11000n, 0x1000n, fails('ENOENT', { size: 0n }))
  unmapDma(t, 0x12000n, 0x1000n, fails('ENOENT', { size: 0n }))
  unmapDma(t, 0x10000n, 0x2000n, fails('ENOENT', { size: 0x1000n }))
  mapDma(t, B, 0x10000n, 0x1000n)
  unmapDma(t, 0n, 0x100000n, ok({ size: 0x3000n }))
  unmapDma(t, 0n, 0x100000n, ok({ size: 0n }))
})

export const e11 = example('02 §8 E11 UNMAP_DMA errors and write-back', (t) => {
  compatIoas(t)
  mapDma(t, B, 0x10000n, 0x1000n)
  unmapDma(t, 0xfffffffffffff000n, 0x2000n, fails('EOVERFLOW', { size: 0n }))
  unmapDma(t, 0n, 0n, fails('EINVAL', { size: 0n }))
  unmapDma(t, 0n, 0x1000n, fails('EINVAL'), { flags: 1 })
  unmapDma(t, 0n, 0x1000n, fails('EINVAL'), { flags: 4 })
  unmapDma(t, 0n, 0x1000n, fails('EINVAL'), { flags: ALL })
  t.step('VFIO_IOMMU_UNMAP_DMA', { iova: 0x10000n, size: 0x1000n }, fails('EFAULT'), {
    readOnly: true,
  })
  unmapDma(t, 0x10000n, 0x1000n, ok({ size: 0n }))
})

export const e12 = example('02 §8 E12 MAP_DMA errors without a device', (t) => {
  compatIoas(t)
  mapDma(t, B, 0n, 0x1000n, fails('EINVAL'), { argsz: 31 })
  mapDma(t, B, 0n, 0x1000n, fails('EINVAL'), { flags: 4 })
  mapDma(t, B, 0n, 0n, fails('EINVAL'))
  mapDma(t, 0xfffffffffffff000n, 0n, 0x1000n, fails('EOVERFLOW'))
  mapDma(t, 0n, 0n, 0xfffffffffffff000n, fails('EINVAL'))
  mapDma(t, B, 0xfffffffffffff000n, 0x2000n, fails('EOVERFLOW'))
  mapDma(t, 0x10n, 0n, 0x1000n)
  mapDma(t, B, 0xff0n, 0x20n, fails('EEXIST'))
  mapDma(t, B, MAX, 1n)
})

export const e29 = example('02 §8 E29 Accounting mode of /dev/iommu', (t) => {
  t.open()
  t.step('OPTION', { option_id: 0, op: 1, val64: 9n }, ok({ val64: 0n }))
})

export const e31 = example('02 §8 E31 The compat IOAS is weak (the part without a group)', (t) => {
  compatIoas(t)
  t.step('DESTROY', { id: 1 }, ok())
  mapDma(t, B, 0n, 0x1000n, fails('ENODEV'))
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  mapDma(t, B, 0n, 0x1000n, fails('ENODEV'))
  vfioIoas(t, SET, 1)
  mapDma(t, B, 0n, 0x1000n)
})

export const followsThePointer = example('02 §2.5 MAP_DMA reaches the compat IOAS of now', (t) => {
  compatIoas(t)
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }))
  mapDma(t, B, 0x1000n, 0x1000n)
  vfioIoas(t, SET, 2)
  mapDma(t, B, 0x1000n, 0x1000n)
  unmapDma(t, 0n, 0n, ok({ size: 0x1000n }), { flags: ALL })
  t.step('IOAS_UNMAP', { ioas_id: 1, iova: 0x1000n, length: 0x1000n }, ok())
  // A mapping without permissions is possible here and nowhere else.
  mapDma(t, B, 0x1000n, 0x1000n, ok(), { flags: 0 })
  t.step(
    'IOAS_MAP',
    { flags: R | F, ioas_id: 2, user_va: B, length: 0x1000n, iova: 0x1000n },
    fails('EEXIST'),
  )
})
