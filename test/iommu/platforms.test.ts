/** The worked examples of 07 §14.2, and DMA through the tables of each platform. */
import { describe, expect, it } from 'vitest'
import {
  type Expectation,
  type FieldValues,
  fails,
  ok,
  type Steps,
} from '../../conformance/example.ts'
import { ARRAY, B } from '../../conformance/places.ts'
import { byteLength, type Iova, iova } from '../../src/abi/brands.ts'
import { DmaPort } from '../../src/engine/dma.ts'
import { Bench, made } from './platform-bench.ts'

const MSI_TO = (last: bigint): [bigint, bigint][] => [
  [0n, 0xfedf_ffffn],
  [0xfef0_0000n, last],
]
const NEST_PARENT = 1
const DIRTY = 2
const FAULT = 4
const PASID = 8
const READ = 4

describe('Intel platforms', () => {
  it('P1: ranges and hardware information', () => {
    const b = new Bench('intel-server-48', { ats: true })
    expect(b.attach()).toBe(3)
    b.ranges(...MSI_TO(0xffff_ffff_ffffn))
    b.play((t) => {
      t.fill(ARRAY, 64n, 0xaa)
      t.step(
        'GET_HW_INFO',
        { dev_id: 2, data_len: 64, data_uptr: ARRAY },
        ok({ data_len: 24, out_data_type: 1, out_max_pasid_log2: 0, out_capabilities: 0n }),
      )
      const bytes = new Uint8Array(64)
      const view = new DataView(bytes.buffer)
      view.setUint32(0, 1, true)
      view.setBigUint64(8, 0x08d2078c106f0466n, true)
      view.setBigUint64(16, 0xf020dfn, true)
      t.sees(ARRAY, bytes)
    })
  })

  it('P2: flags in legacy mode', () => {
    const b = new Bench('intel-server-48')
    b.hwptAlloc({ flags: DIRTY }, fails('EOPNOTSUPP'))
    b.hwptAlloc({ flags: NEST_PARENT }, fails('EOPNOTSUPP'))
    b.hwptAlloc({ flags: FAULT | NEST_PARENT }, fails('EOPNOTSUPP'))
    b.hwptAlloc({ data_type: 1, data_len: 24, data_uptr: ARRAY }, fails('EOPNOTSUPP'))
    b.hwptAlloc({ data_type: 1 }, fails('EINVAL'))
    b.hwptAlloc({ flags: PASID }, made(3))
  })

  it('P3: the first stage offers the lower half', () => {
    const b = new Bench('intel-sm-48')
    expect(b.attach()).toBe(3)
    b.ranges(...MSI_TO(0x7fff_ffff_ffffn))
    b.map(0x8000_0000_0000n, 'EINVAL')
  })

  it('P4 and P5: a nest parent and read-only mappings exclude each other', () => {
    const b = new Bench('intel-sm-48')
    b.hwptAlloc({ flags: NEST_PARENT }, made(3))
    b.ranges([0n, 0xffff_ffff_ffffn])
    b.map(0x1000n, 'EINVAL', { flags: READ })
    b.map(0x1000n, 'ok')
    const other = new Bench('intel-sm-48')
    other.map(0x1000n, 'ok', { flags: READ })
    other.hwptAlloc({ flags: NEST_PARENT }, fails('EINVAL'))
    other.hwptAlloc({}, made(3))
  })

  it('P6: nesting', () => {
    for (const platform of ['intel-sm-48', 'intel-sm-57']) {
      const b = new Bench(platform)
      b.hwptAlloc({ flags: NEST_PARENT }, made(3))
      b.hwptAlloc({}, made(4))
      const nested = (fields: FieldValues, wanted: Expectation): void =>
        b.hwptAlloc({ pt_id: 3, data_type: 1, data_len: 24, data_uptr: ARRAY, ...fields }, wanted)
      const width = (addr_width: number): void =>
        b.play((t) => {
          t.fill(ARRAY, 64n, 0)
          t.poke(ARRAY + 16n, [addr_width])
        })
      nested({ data_len: 16 }, fails('EINVAL'))
      nested({ data_len: 32 }, fails('EINVAL'))
      nested({ data_type: 2 }, fails('EOPNOTSUPP'))
      nested({ pt_id: 4 }, fails('EINVAL'))
      width(48)
      nested({}, made(5))
      width(39)
      nested({}, made(6))
      width(57)
      nested({}, made(7))
      expect(b.attach(6)).toBe('EINVAL')
      expect(b.attach(5)).toBe(5)
      expect(b.replace(6)).toBe('EINVAL')
      expect(b.replace(7)).toBe(platform === 'intel-sm-57' ? 7 : 'EINVAL')
      b.play((t) => t.step('VIOMMU_ALLOC', { type: 1, dev_id: 2, hwpt_id: 3 }, fails('EOPNOTSUPP')))
    }
  })

  it('P7 and P8: areas in the way, below and above', () => {
    const msi = new Bench('intel-server-48')
    msi.map(0xfee0_0000n, 'ok')
    expect(msi.attach()).toBe('EADDRINUSE')
    const arm = new Bench('intel-server-48')
    arm.map(0x800_0000n, 'ok')
    expect(arm.attach()).toBe(3)
    for (const [platform, result] of [
      ['intel-sm-48', 'EADDRINUSE'],
      ['intel-server-48', 3],
    ] as const) {
      const high = new Bench(platform)
      high.map(0x9000_0000_0000n, 'ok')
      expect(high.attach()).toBe(result)
    }
  })

  it('P17: firmware regions', () => {
    const region = { start: iova(0x7c00_0000n), length: byteLength(0x100000n) }
    const relaxable = new Bench('intel-server-48', {
      firmwareRegions: [{ ...region, kind: 'direct-relaxable' }],
    })
    expect(relaxable.attach()).toBe(3)
    relaxable.ranges(...MSI_TO(0xffff_ffff_ffffn))
    expect(
      () => new Bench('intel-server-48', { firmwareRegions: [{ ...region, kind: 'direct' }] }),
    ).toThrow('firmware demands a permanent 1:1 map')
  })

  it('P19: small pages stay small', () => {
    const b = new Bench('intel-client-39')
    b.play((t) => t.step('OPTION', { option_id: 1, op: 0, object_id: 1, val64: 0n }, ok()))
    expect(b.attach()).toBe(3)
    b.map(0x200000n, 'ok', { length: 0x40000n })
    const steps = b.domain(3).table.walk(iova(0x200000n))
    expect(steps.map(({ level }) => level)).toEqual([3, 2, 1, 0])
    // Walks of this unit are not coherent, and coherency is enforced.
    expect((steps[0]?.word ?? 0n) & 0xfffn).toBe(0x403n)
    expect((steps[3]?.word ?? 0n) & 0xfffn).toBe(0x803n)
    b.play((t) => t.step('IOAS_UNMAP', { ioas_id: 1, iova: 0x200000n, length: 0x40000n }, ok()))
  })

  it('every platform of section 13 decodes to the ranges it states', () => {
    const rows: [string, bigint, number][] = [
      ['intel-client-39', 0x7f_ffff_ffffn, 3],
      ['intel-igd-39', 0x7f_ffff_ffffn, 3],
      ['intel-server-48', 0xffff_ffff_ffffn, 3],
      ['intel-sm-48', 0x7fff_ffff_ffffn, 3],
      ['intel-sm-57', 0xff_ffff_ffff_ffffn, 4],
      ['intel-qemu-48', 0xffff_ffff_ffffn, 3],
    ]
    for (const [platform, last, topLevel] of rows) {
      const b = new Bench(platform)
      expect(b.attach()).toBe(3)
      b.ranges(...MSI_TO(last))
      expect(b.domain(3).table.topLevel).toBe(topLevel)
      expect(b.domain(3).pageSizes).toBe(0x40201000n)
    }
    expect(new Bench('intel-igd-39').device.enforcesCoherency).toBe(false)
    expect(new Bench('intel-sm-48').device.enforcesCoherency).toBe(true)
    expect(new Bench('intel-sm-57', { pasids: 1 << 20 }).iommuDevice.maxPasids).toBe(1 << 20)
  })
})

describe('AMD platforms', () => {
  it('P9: amd-client', () => {
    const b = new Bench('amd-client')
    expect(b.attach()).toBe(3)
    b.ranges(
      [0n, 0xfedf_ffffn],
      [0xfef0_0000n, 0xfc_ffff_ffffn],
      [0x100_0000_0000n, 0xffff_ffff_ffff_ffffn],
    )
    b.map(0xfd_0000_0000n, 'EINVAL')
    b.map(0xfc_ffff_f000n, 'ok')
    b.map(0x100_0000_0000n, 'ok')
    b.hwptAlloc({ flags: DIRTY }, fails('EOPNOTSUPP'))
    b.play((t) => {
      t.fill(ARRAY, 32n, 0xaa)
      t.step(
        'GET_HW_INFO',
        { dev_id: 2, data_len: 32, data_uptr: ARRAY },
        ok({ data_len: 0, out_data_type: 0, out_capabilities: 8n }),
      )
      t.sees(ARRAY, new Uint8Array(32))
    })
  })

  it('P10: amd-server', () => {
    const b = new Bench('amd-server', { pasids: 1 << 20 })
    b.hwptAlloc({ flags: DIRTY }, made(3))
    b.hwptAlloc({ flags: NEST_PARENT }, made(4))
    b.hwptAlloc({ flags: DIRTY | NEST_PARENT }, made(5))
    b.hwptAlloc({ flags: DIRTY | PASID }, fails('EOPNOTSUPP'))
    b.hwptAlloc({ flags: PASID }, made(6))
    b.ranges([0n, 0xff_ffff_ffff_ffffn])
    b.play((t) => {
      t.step('GET_HW_INFO', { dev_id: 2 }, ok({ out_max_pasid_log2: 15, out_capabilities: 9n }))
      t.step('VIOMMU_ALLOC', { type: 1, dev_id: 2, hwpt_id: 4 }, fails('EOPNOTSUPP'))
    })
  })
})

describe('ARM SMMUv3', () => {
  const swMsi = (last: bigint): [bigint, bigint][] => [
    [0n, 0x7ff_ffffn],
    [0x810_0000n, last],
  ]

  it('P11: ranges', () => {
    for (const platform of ['arm-smmuv3-48', 'arm-smmuv3-44']) {
      const b = new Bench(platform)
      expect(b.attach()).toBe(3)
      b.ranges(...swMsi(0xffff_ffff_ffffn))
    }
    const b = new Bench('arm-smmuv3-44')
    b.hwptAlloc({ flags: NEST_PARENT }, made(3))
    b.ranges([0n, 0xfff_ffff_ffffn])
    const inTheWay = new Bench('arm-smmuv3-48')
    inTheWay.map(0x800_0000n, 'ok')
    expect(inTheWay.attach()).toBe('EADDRINUSE')
  })

  it('P12: pages start dirty, and disabling does nothing', () => {
    const dirty = (b: Bench, expected: number, iova = 0x10000n): void =>
      b.play((t) => {
        t.fill(ARRAY, 8n, 0)
        const wanted = { iova, length: 0x4000n, page_size: 0x1000n, data: ARRAY }
        t.step('HWPT_GET_DIRTY_BITMAP', { hwpt_id: 3, ...wanted }, ok())
        t.sees(ARRAY, [expected])
      })
    for (const [platform, bits] of [
      ['arm-smmuv3-48', 0xf],
      ['amd-server', 0],
      ['intel-sm-48', 0],
    ] as const) {
      const b = new Bench(platform)
      b.map(0x10000n, 'ok', { length: 0x4000n })
      b.hwptAlloc({ flags: DIRTY }, made(3))
      b.play((t) => t.step('HWPT_SET_DIRTY_TRACKING', { hwpt_id: 3, flags: 0 }, ok()))
      dirty(b, bits)
      b.play((t) => t.step('HWPT_SET_DIRTY_TRACKING', { hwpt_id: 3, flags: 1 }, ok()))
      dirty(b, 0)
      b.map(0x20000n, 'ok', { length: 0x4000n })
      dirty(b, bits, 0x20000n)
    }
  })

  it('P13: nesting through a vIOMMU', () => {
    const b = new Bench('arm-smmuv3-48')
    b.hwptAlloc({ flags: NEST_PARENT }, made(3))
    b.hwptAlloc({ flags: NEST_PARENT | DIRTY }, fails('EOPNOTSUPP'))
    const ste = (word0: bigint, word1: bigint, wanted: Expectation, pt_id = 4): void => {
      b.play((t) => {
        const bytes = new Uint8Array(16)
        const view = new DataView(bytes.buffer)
        view.setBigUint64(0, word0, true)
        view.setBigUint64(8, word1, true)
        t.poke(ARRAY, bytes)
      })
      b.hwptAlloc({ pt_id, data_type: 2, data_len: 16, data_uptr: ARRAY }, wanted)
    }
    ste(1n, 0n, fails('EOPNOTSUPP'), 3)
    b.play((t) => {
      const viommu = (type: number, wanted: Expectation): void =>
        t.step('VIOMMU_ALLOC', { type, dev_id: 2, hwpt_id: 3 }, wanted)
      viommu(1, ok({ out_viommu_id: 4 }))
      viommu(2, fails('EOPNOTSUPP'))
      viommu(0, fails('EOPNOTSUPP'))
    })
    ste(0x1n, 0n, made(5))
    ste(0xbn, 0n, made(6))
    expect(b.attach(6)).toBe('ENOENT')
    ste(0x9n, 0n, made(7))
    expect(b.attach(7)).toBe(7)
    ste(0xdn, 0n, fails('EIO'))
    ste(0x1n, 1n << 30n, fails('EIO'))
    ste(0x0n, 0xffffffffffffffffn, made(8))
    const port = new DmaPort(b.machine, b.iommuDevice)
    b.map(0x10000n, 'ok')
    expect(port.read(iova(0x10000n), new Uint8Array(8))).toBeUndefined()
    b.play((t) => {
      const command = (word0: bigint, wanted: Expectation): void => {
        const bytes = new Uint8Array(16)
        new DataView(bytes.buffer).setBigUint64(0, word0, true)
        t.poke(ARRAY, bytes)
        const array = { data_uptr: ARRAY, data_type: 1, entry_len: 16, entry_num: 1 }
        t.step('HWPT_INVALIDATE', { hwpt_id: 4, ...array }, wanted)
      }
      command(0x30n, ok())
      command(0x40n | (5n << 32n), fails('EIO', { entry_num: 0 }))
      command(0x01n, fails('EIO', { entry_num: 0 }))
    })
  })
})

describe('IOMMUs without flags', () => {
  it('P14: virtio', () => {
    for (const [platform, ranges] of [
      ['virtio-x86', MSI_TO(0xffff_ffff_ffff_ffffn)],
      [
        'virtio-arm',
        [
          [0n, 0x7ff_ffffn],
          [0x810_0000n, 0xffff_ffff_ffff_ffffn],
        ],
      ],
    ] as [string, [bigint, bigint][]][]) {
      const b = new Bench(platform)
      expect(b.attach()).toBe(3)
      b.ranges(...ranges)
      for (const flags of [NEST_PARENT, DIRTY, PASID, FAULT])
        b.hwptAlloc({ flags, fault_id: 1 }, fails('EOPNOTSUPP'))
      b.hwptAlloc({}, made(4))
      b.play((t) =>
        t.step('GET_HW_INFO', { dev_id: 2 }, ok({ out_data_type: 0, out_capabilities: 8n })),
      )
    }
  })

  it('P18: RISC-V, as it is and as if it were coherent', () => {
    expect(() => new Bench('riscv-sv57-exact')).toThrow('cache-coherent')
    expect(() => new Bench('riscv-sv57', { msiIsolated: false })).toThrow('interrupts')
    const b = new Bench('riscv-sv57')
    expect(b.attach()).toBe(3)
    b.ranges([0n, 0xff_ffff_ffff_ffffn])
    expect(b.domain(3).pageSizes).toBe(0x1008040211000n)
    b.map(0x10000n, 'ok', { length: 0x4000n })
  })
})

describe('DMA of a device', () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  const at = (value: bigint): Iova => iova(value)

  it('reads and writes what is mapped, marks it dirty, and says where it is stopped', () => {
    const b = new Bench('intel-sm-48')
    const port = new DmaPort(b.machine, b.iommuDevice)
    expect(port.read(at(0x10000n), new Uint8Array(8))).toMatchObject({ fault: 'blocked' })
    b.hwptAlloc({ flags: DIRTY }, made(3))
    expect(b.attach(3)).toBe(3)
    b.map(0x10000n, 'ok', { length: 0x2000n })
    b.map(0x20000n, 'ok', { flags: READ })
    b.play((t) => t.step('HWPT_SET_DIRTY_TRACKING', { hwpt_id: 3, flags: 1 }, ok()))
    expect(port.write(at(0x10ffcn), bytes('across!!'))).toBeUndefined()
    b.play((t) => {
      t.sees(B + 0xffcn, bytes('across!!'))
      t.fill(ARRAY, 8n, 0)
      const wanted = { iova: 0x10000n, length: 0x2000n, page_size: 0x1000n, data: ARRAY }
      t.step('HWPT_GET_DIRTY_BITMAP', { hwpt_id: 3, ...wanted }, ok())
      t.sees(ARRAY, [3])
    })
    const read = new Uint8Array(8)
    expect(port.read(at(0x10ffcn), read)).toBeUndefined()
    expect(read).toEqual(bytes('across!!'))
    expect(port.write(at(0x20000n), read)).toEqual({ iova: 0x20000n, fault: 'no-permission' })
    expect(port.read(at(0x11ffcn), read)).toEqual({ iova: 0x12000n, fault: 'not-mapped' })
    expect(port.read(at(1n << 50n), read)).toMatchObject({ fault: 'out-of-reach' })
    expect(b.events.at(-2)).toMatchObject({
      type: 'dma-fault',
      device: '0000:00:03.0',
      ioas: 1,
      iova: 0x12000n,
      write: false,
      fault: 'not-mapped',
    })
  })

  it('is cut off by a refused replace on VT-d until another succeeds (07 §15 point 16)', () => {
    const b = new Bench('intel-sm-48')
    b.hwptAlloc({ flags: NEST_PARENT }, made(3))
    expect(b.attach(3)).toBe(3)
    b.map(0x10000n, 'ok')
    b.play((t) => {
      t.fill(ARRAY, 64n, 0)
      t.poke(ARRAY + 16n, [39])
    })
    b.hwptAlloc({ pt_id: 3, data_type: 1, data_len: 24, data_uptr: ARRAY }, made(4))
    const port = new DmaPort(b.machine, b.iommuDevice)
    expect(port.read(at(0x10000n), new Uint8Array(4))).toBeUndefined()
    expect(b.replace(4)).toBe('EINVAL')
    expect(port.read(at(0x10000n), new Uint8Array(4))).toMatchObject({ fault: 'blocked' })
    expect(b.replace(3)).toBe(3)
    expect(port.read(at(0x10000n), new Uint8Array(4))).toMatchObject({ fault: 'blocked' })
    b.hwptAlloc({}, made(5))
    expect(b.replace(5)).toBe(5)
    expect(port.read(at(0x10000n), new Uint8Array(4))).toBeUndefined()
  })

  it('walks the stage 1 of a guest, whose tables lie behind stage 2', () => {
    const b = new Bench('intel-sm-48')
    b.hwptAlloc({ flags: NEST_PARENT }, made(3))
    b.map(0x100000n, 'ok', { length: 0x10000n })
    const word = (table: bigint, index: bigint, value: bigint) => (t: Steps) => {
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, value, true)
      t.poke(B + table + index * 8n, bytes)
    }
    b.play((t) => {
      t.fill(B, 0x10000n, 0)
      // Guest table at 0x100000: guest IOVA 0x5000 is guest physical 0x104000, read-only.
      word(0n, 0n, 0x101007n)(t)
      word(0x1000n, 0n, 0x102007n)(t)
      word(0x2000n, 0n, 0x103007n)(t)
      word(0x3000n, 5n, 0x104005n)(t)
      t.poke(B + 0x4010n, bytes('guest'))
      t.fill(ARRAY, 64n, 0)
      t.poke(ARRAY + 8n, [0, 0, 0x10])
      t.poke(ARRAY + 16n, [48])
    })
    b.hwptAlloc({ pt_id: 3, data_type: 1, data_len: 24, data_uptr: ARRAY }, made(4))
    expect(b.attach(4)).toBe(4)
    const port = new DmaPort(b.machine, b.iommuDevice)
    const read = new Uint8Array(5)
    expect(port.read(at(0x5010n), read)).toBeUndefined()
    expect(read).toEqual(bytes('guest'))
    expect(port.write(at(0x5010n), read)).toMatchObject({ fault: 'no-permission' })
    expect(port.read(at(0x6000n), read)).toMatchObject({ fault: 'not-mapped' })
  })
})
