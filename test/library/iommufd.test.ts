import { describe, expect, test } from 'vitest'
import { Iommufd, IommufdError, SimulatedMachine, uapi } from '../../src/index.ts'

const refusalOf = (act: () => unknown): IommufdError => {
  try {
    act()
  } catch (error) {
    if (error instanceof IommufdError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('IDs (01 §22.2)', () => {
  test('the lowest free ID is taken, and a destroyed one is gone', () => {
    using iommufd = Iommufd.open()
    expect([1, 2, 3].map(() => iommufd.allocIoas().id)).toEqual([1, 2, 3])
    iommufd.destroy(2)
    expect(refusalOf(() => iommufd.destroy(2)).code).toBe('ENOENT')
    expect(iommufd.allocIoas().id).toBe(2)
    expect(iommufd.allocIoas().id).toBe(4)
    expect(refusalOf(() => iommufd.call(uapi.IOMMU_IOAS_ALLOC, { flags: 1 })).code).toBe(
      'EOPNOTSUPP',
    )
    expect(iommufd.allocIoas().id).toBe(5)
  })
})

describe('mapping', () => {
  test('a map chooses an IOVA, a second one at it is refused with the reason', () => {
    using iommufd = Iommufd.open()
    const ioas = iommufd.allocIoas()
    const buffer = iommufd.memory.allocate(0x4000)
    const iova = ioas.map({ userVa: buffer.address, length: 0x4000n })
    expect(ioas.areas()).toMatchObject([{ start: iova, length: 0x4000n, readable: true }])

    const error = refusalOf(() => ioas.map({ userVa: buffer.address, length: 0x1000n, iova }))
    expect(error).toMatchObject({ errno: 17, code: 'EEXIST' })
    expect(error.message).toMatch(/^IOMMU_IOAS_MAP failed with EEXIST: .*0x/)
    expect(error.reason.kind.cite).toMatch(/^01 §12.2/)

    expect(ioas.unmap(iova, 0x4000n)).toBe(0x4000n)
    expect(refusalOf(() => ioas.unmap(iova, 0x4000n)).code).toBe('ENOENT')
    expect(ioas.unmapAll()).toBe(0n)
  })

  test('a copy shares the memory of another address space', () => {
    using iommufd = Iommufd.open()
    const [from, to] = [iommufd.allocIoas(), iommufd.allocIoas()]
    const buffer = iommufd.memory.allocate(0x2000)
    const fromIova = from.map({ userVa: buffer.address, length: 0x2000n, writable: false })
    expect(to.copy({ from, fromIova, length: 0x1000n, iova: 0x10000n, writable: false })).toBe(
      0x10000n,
    )
    expect(refusalOf(() => to.copy({ from, fromIova, length: 0x1000n, iova: 0x20000n })).code).toBe(
      'EPERM',
    )
  })

  test('64-bit addresses are exact', () => {
    using iommufd = Iommufd.open()
    const ioas = iommufd.allocIoas()
    const last = 0xffff_ffff_ffff_f000n
    expect(ioas.map({ userVa: 0x1000n, length: 0x1000n, iova: last })).toBe(last)
    expect(ioas.areas()[0]?.last).toBe(0xffff_ffff_ffff_ffffn)
  })

  test('values that do not fit 64 bits are the caller’s mistake', () => {
    using iommufd = Iommufd.open()
    const ioas = iommufd.allocIoas()
    expect(() => ioas.map({ userVa: -1n, length: 1n })).toThrow(RangeError)
  })
})

describe('ranges (01 §22.4, §22.7)', () => {
  test('a fresh IOAS can map everything, byte by byte', () => {
    using iommufd = Iommufd.open()
    expect(iommufd.allocIoas().ranges()).toEqual({
      alignment: 1n,
      ranges: [{ start: 0n, last: 0xffff_ffff_ffff_ffffn }],
    })
  })

  test('automatic IOVAs come from the allowed ranges', () => {
    using iommufd = Iommufd.open()
    const ioas = iommufd.allocIoas()
    ioas.allow([{ start: 0x10_0000n, last: 0x10_ffffn }])
    const buffer = iommufd.memory.allocate(0x1000)
    expect(ioas.map({ userVa: buffer.address, length: 0x1000n })).toBe(0x10_0000n)
    expect(
      refusalOf(() =>
        ioas.allow([
          { start: 0n, last: 0xfffn },
          { start: 0x800n, last: 0x1800n },
        ]),
      ).code,
    ).toBe('EINVAL')
  })
})

describe('the compat IOAS (02 §8 E2)', () => {
  test('can be set, read, cleared, and destroyed by its ID', () => {
    using iommufd = Iommufd.open()
    expect(iommufd.vfioIoas).toBeUndefined()
    const ioas = iommufd.allocIoas()
    iommufd.vfioIoas = ioas
    expect(iommufd.vfioIoas?.id).toBe(1)
    ioas.destroy()
    expect(iommufd.vfioIoas).toBeUndefined()
    iommufd.vfioIoas = undefined
  })
})

describe('the raw ioctl', () => {
  test('takes bytes and changes them in place', () => {
    using iommufd = Iommufd.open()
    const bytes = new Uint8Array(12)
    bytes[0] = 12
    expect(iommufd.ioctl(0x3b81, bytes)).toBe(0)
    expect(bytes[8]).toBe(1)
    expect(refusalOf(() => iommufd.ioctl(0x3b81, 0n)).code).toBe('EFAULT')
    expect(refusalOf(() => iommufd.ioctl(0x3bff, 0n)).code).toBe('ENOTTY')
  })
})

describe('life', () => {
  test('contexts of one machine have their own IDs', () => {
    const machine = new SimulatedMachine()
    using one = machine.open()
    using other = machine.open('/dev/vfio/vfio')
    expect(one.allocIoas().id).toBe(1)
    expect(other.allocIoas().id).toBe(1)
    expect(one.option('IOMMU_OPTION_RLIMIT_MODE')).toBe(0n)
    expect(other.option('IOMMU_OPTION_RLIMIT_MODE')).toBe(1n)
  })

  test('events tell what happens while somebody listens', () => {
    using iommufd = Iommufd.open()
    const types: string[] = []
    const stop = iommufd.on((event) => types.push(event.type))
    iommufd.allocIoas()
    stop()
    iommufd.allocIoas()
    expect(types).toEqual(['object-created', 'call'])
  })

  test('nothing can be called after close', () => {
    const iommufd = Iommufd.open()
    iommufd.close()
    iommufd.close()
    expect(() => iommufd.allocIoas()).toThrow('closed')
  })
})
