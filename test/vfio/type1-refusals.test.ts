/** What a native container refuses beside the worked examples of 02 §8, each for its own reason. */
import { beforeEach, describe, expect, test } from 'vitest'
import { byteLength, iova } from '../../src/abi/brands.ts'
import { VFIO_IOMMU_MAP_DMA } from '../../src/abi/vfio/container.ts'
import type { IommuDevice } from '../../src/engine/iommu-driver.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'
import {
  PlatformDevice,
  type PlatformDeviceOptions,
  PlatformGroup,
} from '../../src/iommu/platform-device.ts'
import { platformNamed } from '../../src/iommu/platforms.ts'
import type { VfioDriver } from '../../src/vfio/driver.ts'
import type { VfioGroup } from '../../src/vfio/group.ts'
import { ENTRY_LIMIT, Type1Backend } from '../../src/vfio/type1-backend.ts'
import { type1DirtyPages } from '../../src/vfio/type1-dirty.ts'
import { Type1Dma } from '../../src/vfio/type1-dma.ts'
import { type1MapDma } from '../../src/vfio/type1-map.ts'
import { Vfio } from '../../src/vfio/vfio.ts'
import { Program } from '../engine/support/program.ts'
import { reasonsOf } from '../reached.ts'

const plain: VfioDriver = { name: 'plain', open: () => undefined, close: () => undefined }

let machine: Machine
let program: Program
let backend: Type1Backend

beforeEach(() => {
  machine = new Machine()
  program = new Program(machine)
  backend = new Type1Backend(machine, program.process, { splits: false })
})

const platformDevice = (options: Partial<PlatformDeviceOptions> = {}): PlatformDevice => {
  const iommu = platformNamed('intel-qemu-48')?.create()
  if (iommu === undefined) throw new Error('the platform is missing')
  return new PlatformDevice(iommu.instance, new PlatformGroup(5), { name: 'device', ...options })
}

const groupOf = (device: IommuDevice): VfioGroup => {
  const vfio = new Vfio(machine)
  vfio.addPhysical({ name: 'device', device, driver: () => plain })
  const group = vfio.group(5)
  if (group === undefined) throw new Error('no group')
  return group
}

const map = (at: bigint, length = 0x1000n) =>
  backend.ioas.map(program.call(), {
    va: program.place(4096).address,
    length: byteLength(length),
    iova: iova(at),
    readable: true,
    writable: true,
  })

const attach = (device: IommuDevice) => () => backend.attach(groupOf(device), program.call())

describe('02 §6.2: groups that cannot join', () => {
  test('something is mapped where they do not reach, or reserve', () => {
    map(1n << 60n)
    expect(reasonsOf(attach(platformDevice()))).toEqual(['aperture-does-not-fit'])
    backend.ioas.unmapAll()
    map(0xfee0_0000n)
    expect(reasonsOf(attach(platformDevice()))).toEqual(['region-meets-mapping'])
  })

  test('nothing would be left', () => {
    const whole = { start: iova(0n), length: byteLength(1n << 48n), kind: 'direct' } as const
    const device = platformDevice({ firmwareRegions: [whole] })
    expect(reasonsOf(attach(device))).toEqual(['no-valid-iova-left'])
  })

  test('interrupts are not isolated', () => {
    expect(reasonsOf(attach(platformDevice({ msiIsolated: false })))).toEqual([
      'group-msi-not-isolated',
    ])
  })

  test('the driver has no page tables', () => {
    const device = platformDevice()
    const none = { value: undefined }
    const driver = Object.create(device.instance.driver, {
      allocPaging: none,
      allocPagingPlain: none,
    })
    const instance = { ...device.instance, driver }
    const without: IommuDevice = Object.create(device, { instance: { value: instance } })
    expect(reasonsOf(attach(without))).toEqual(['no-paging-domain'])
  })
})

test('02 §6.5: 65535 mappings are the most', () => {
  for (let i = 0; i < ENTRY_LIMIT; i++) map(BigInt(i) << 12n)
  const { struct } = VFIO_IOMMU_MAP_DMA
  const { address } = program.place(
    struct.encode({
      argsz: 32,
      flags: 3,
      vaddr: program.place(4096).address,
      iova: iova(1n << 40n),
      size: byteLength(0x1000n),
    }),
  )
  expect(reasonsOf(() => type1MapDma(backend, program.call(), address))).toEqual([
    'type1-no-mapping-left',
  ])
})

describe('02 §6.7: dirty pages', () => {
  const [START, GET_BITMAP] = [1, 4]
  /** argsz, flags, then a range and its bitmap. */
  const request = (flags: number, ...range: bigint[]) => {
    const bytes = new Uint8Array(8 + 8 * range.length)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, bytes.length, true)
    view.setUint32(4, flags, true)
    for (const [i, value] of range.entries()) view.setBigUint64(8 + 8 * i, value, true)
    return type1DirtyPages(backend, program.call(), program.place(bytes).address)
  }

  test('ranges that pass the end, pages of another size, bitmaps nowhere', () => {
    expect(request(START)).toBe(0)
    const bitmap = program.place(4096).address
    const get =
      (at: bigint, size: bigint, pgsize: bigint, data: bigint = bitmap) =>
      () =>
        request(GET_BITMAP, at, size, pgsize, 8n, data)
    expect(reasonsOf(get(0xffff_ffff_ffff_f000n, 0x2000n, 0x1000n))).toEqual([
      'type1-dirty-range-wraps',
    ])
    expect(reasonsOf(get(0n, 0x2000n, 0x2000n))).toEqual(['type1-dirty-page-size'])
    expect(reasonsOf(get(0n, 0x1000n, 0x1000n, 0xffff_ffff_ffff_fff8n))).toEqual([
      'type1-bitmap-address-impossible',
    ])
  })
})

describe('02 §6.8: emulated devices', () => {
  const device = (): Type1Dma => {
    const dma = Type1Dma.open(backend, 'device', plain, program.call())
    if (dma instanceof Refusal) throw new Error(dma.say())
    return dma
  }

  test('pin no pages, and nothing without an unmap hook', () => {
    const dma = device()
    for (const pages of [0, 1])
      expect(reasonsOf(() => dma.pin(program.call(), iova(0n), pages, false))).toEqual([
        'type1-pin-without-hook',
      ])
  })

  test('copy for the process that made the mapping alone', () => {
    map(0n)
    const stranger = new Program(machine)
    const read = () => device().read(stranger.call(), iova(0n), new Uint8Array(4))
    expect(reasonsOf(read)).toEqual(['type1-dma-by-stranger'])
  })
})
