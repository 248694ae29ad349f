import { describe, expect, it } from 'vitest'
import { objectId } from '../../src/abi/brands.ts'
import { IOMMU_GET_HW_INFO, type iommu_hw_info } from '../../src/abi/iommufd/hw-info.ts'
import type { Decoded } from '../../src/abi/layout.ts'
import { NOWHERE } from './support/program.ts'
import { Bench } from './support/setup.ts'
import { type TestDeviceOptions, TestDriver, TestIommu } from './support/test-iommu.ts'

const setUp = (options: TestDeviceOptions = {}, driver = new TestDriver()) => {
  const bench = new Bench(new TestIommu(driver))
  bench.ioas()
  bench.bind(bench.iommu.device('A', options))
  const info = (args: Partial<Decoded<typeof iommu_hw_info>> & { size?: number } = {}) =>
    bench.program.ioctl(bench.context, IOMMU_GET_HW_INFO, { dev_id: objectId(2), ...args })
  return { bench, info }
}

describe('IOMMU_GET_HW_INFO (03 §10, example 12)', () => {
  const { bench, info } = setUp()

  it('tells the length without touching the buffer', () => {
    const { outcome, after } = info()
    expect(outcome).toBe(0)
    expect(after).toMatchObject({
      data_len: 24,
      out_data_type: 1,
      out_max_pasid_log2: 20,
      out_capabilities: 1n,
    })
  })

  it('fills a small buffer and zeroes the rest of a large one', () => {
    const small = bench.program.place(8)
    expect(info({ data_len: 8, data_uptr: small.address }).after.data_len).toBe(24)
    expect([...small.bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    const large = bench.program.place(new Uint8Array(64).fill(0xff))
    expect(info({ data_len: 64, data_uptr: large.address }).after.data_len).toBe(24)
    expect([large.bytes[23], large.bytes.subarray(24).every((byte) => byte === 0)]).toEqual([
      24,
      true,
    ])
  })

  it('is EFAULT for a buffer that is not there, and then writes nothing back', () => {
    const { outcome, after } = info({ data_len: 24, data_uptr: NOWHERE })
    expect([outcome, after.out_capabilities]).toEqual(['EFAULT', 0n])
  })

  it('looks at the wanted type only with the flag', () => {
    expect(info({ in_data_type: 0x1234 }).after.out_data_type).toBe(1)
    expect(info({ flags: 1, in_data_type: 1 }).outcome).toBe(0)
    expect(info({ flags: 1, in_data_type: 2 }).outcome).toBe('EOPNOTSUPP')
    expect(info({ flags: 1, in_data_type: 0 }).after.out_data_type).toBe(1)
  })

  it('refuses unknown flags and reserved bytes before it looks for the device', () => {
    expect(info({ flags: 2, dev_id: objectId(9) }).outcome).toBe('EOPNOTSUPP')
    expect(info({ __reserved: [0, 1, 0], dev_id: objectId(9) }).outcome).toBe('EOPNOTSUPP')
    expect(info({ dev_id: objectId(1) }).outcome).toBe('ENOENT')
  })

  it('does not write what the caller does not know', () => {
    const { outcome, after } = info({ size: 32 })
    expect([outcome, after.out_capabilities]).toEqual([0, 0n])
  })

  it('reports PASID permissions of PCI devices with PASIDs only, and missing ATS as a bit', () => {
    const pci = { isVf: false, pfHasPri: false, pasidExec: true, pasidPriv: true }
    const capabilities = (options: TestDeviceOptions) =>
      setUp(options).info().after.out_capabilities
    expect(capabilities({ pci })).toBe(7n)
    expect(capabilities({ pci, maxPasids: 0, without: ['ats', 'dirty-tracking'] })).toBe(8n)
  })

  it('is type 0 and nothing for a driver without information, whatever was asked', () => {
    class Silent extends TestDriver {}
    Object.defineProperty(Silent.prototype, 'hwInfo', { value: undefined })
    const silent = setUp({ maxPasids: 1 }, new Silent())
    const buffer = silent.bench.program.place(new Uint8Array(8).fill(0xff))
    const { outcome, after } = silent.info({
      flags: 1,
      in_data_type: 77,
      data_len: 8,
      data_uptr: buffer.address,
    })
    expect([outcome, after.data_len, after.out_data_type, after.out_max_pasid_log2]).toEqual([
      0, 0, 0, 0,
    ])
    expect([...buffer.bytes]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  })
})
