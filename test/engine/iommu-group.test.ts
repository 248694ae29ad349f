import { describe, expect, it } from 'vitest'
import { IOMMU_IOAS_ALLOC } from '../../src/abi/iommufd/ioas.ts'
import { attachDevice } from '../../src/engine/attach.ts'
import type { Context } from '../../src/engine/context.ts'
import { bindDevice, type Device, unbindDevice } from '../../src/engine/device.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { outcomeOf, Program } from './support/program.ts'
import { region, type TestDevice, TestIommu } from './support/test-iommu.ts'

const setUp = (options: ConstructorParameters<typeof Machine>[0] = {}) => {
  const program = new Program(new Machine(options))
  const iommu = new TestIommu()
  const group = iommu.newGroup()
  const g1 = iommu.device('G1', { group })
  const g2 = iommu.device('G2', { group })
  const bind = (context: Context, device: TestDevice) => bindDevice(program.call(), context, device)
  return { program, iommu, driver: iommu.driver, group, g1, g2, bind }
}

const bound = (result: ReturnType<typeof bindDevice>): Device => {
  if (result instanceof Refusal) throw new Error(result.say())
  return result
}

describe('DMA ownership of groups (03 §3.2, example 7)', () => {
  it('gives all devices of a group to one context', () => {
    const { program, g1, g2, bind } = setUp()
    const x = program.open()
    const y = program.open()
    const first = bound(bind(x, g1))
    expect(outcomeOf(bind(y, g2))).toBe('EPERM')
    const second = bound(bind(x, g2))
    unbindDevice(first)
    expect(outcomeOf(bind(y, g2))).toBe('EPERM')
    unbindDevice(second)
    expect(outcomeOf(bind(y, g2))).toBe(0)
  })

  it('blocks every member with the first claim and frees them with the last', () => {
    const { program, driver, g1, g2, bind } = setUp()
    const x = program.open()
    const first = bound(bind(x, g1))
    expect(driver.log).toEqual(['blocked G1', 'blocked G2'])
    const second = bound(bind(x, g2))
    unbindDevice(second)
    expect(driver.log).toEqual(['blocked G1', 'blocked G2'])
    unbindDevice(first)
    expect(driver.log.slice(2)).toEqual(['identity G1', 'identity G2'])
  })

  it('refuses while a kernel driver does DMA through a member', () => {
    const { program, g1, g2, bind } = setUp()
    const kernelDriver = { toString: () => 'the kernel driver of G1' }
    const state = program.machine.groups.of(g1)
    expect(state.claimForKernel(kernelDriver)).toBeUndefined()
    const refused = bind(program.open(), g2)
    expect(refused instanceof Refusal && refused.say()).toBe(
      'the DMA of IOMMU group 1 belongs to the kernel driver of G1',
    )
    expect(outcomeOf(refused)).toBe('EPERM')
    state.unclaim()
    expect(outcomeOf(bind(program.open(), g2))).toBe(0)
  })

  it('never binds a group of which a member needs a permanent 1:1 map', () => {
    const { program, iommu, group, g1, bind } = setUp()
    iommu.device('G3', { group, regions: [region('direct', 0x8000n, 0x1000n)] })
    expect(outcomeOf(bind(program.open(), g1))).toBe('EINVAL')
    expect(program.machine.groups.of(g1).owner).toBeUndefined()
  })

  it('wants isolated interrupts of every member, unless unsafe ones are allowed', () => {
    for (const [allowUnsafeInterrupts, outcome] of [
      [false, 'EPERM'],
      [true, 0],
    ] as const) {
      const { program, iommu, group, g1, bind } = setUp({ allowUnsafeInterrupts })
      iommu.device('G3', { group, msiIsolated: false })
      expect(outcomeOf(bind(program.open(), g1))).toBe(outcome)
    }
  })

  it('wants coherent DMA, and judges that first', () => {
    const { program, iommu, group, bind } = setUp()
    const device = iommu.device('G3', { group, msiIsolated: false, without: ['coherent'] })
    expect(outcomeOf(bind(program.open(), device))).toBe('EINVAL')
  })

  it('refuses a group that somebody else has put on a translation of his own', () => {
    const { program, driver, g1, bind } = setUp()
    const foreign = driver.allocPagingPlain()
    if (foreign instanceof Refusal) throw new Error(foreign.say())
    const state = program.machine.groups.of(g1)
    const context = program.open()
    state.replace(foreign)
    expect(outcomeOf(bind(context, g1))).toBe('EBUSY')
    state.replace(driver.defaultDomain)
    const device = bound(bind(context, g1))
    state.replace(foreign)
    const ioas = program.must(context, IOMMU_IOAS_ALLOC).out_ioas_id
    expect(outcomeOf(attachDevice(program.call(), device, ioas))).toBe('EBUSY')
  })

  it('gives the claim back when no object can be made', () => {
    const { program, driver, g1, bind } = setUp()
    const context = program.open()
    program.injector.arm(1, 1, ['allocate-object'])
    expect(outcomeOf(bind(context, g1))).toBe('ENOMEM')
    expect(program.machine.groups.of(g1).owner).toBeUndefined()
    expect(driver.log.at(-1)).toBe('identity G2')
    expect(context.objects.size).toBe(0)
  })

  it('keeps the context alive until the last device is unbound', () => {
    const { program, g1, bind } = setUp()
    const context = program.open()
    const device = bound(bind(context, g1))
    program.closeAll()
    expect(context.released).toBe(false)
    unbindDevice(device)
    expect(context.released).toBe(true)
    expect(program.machine.groups.deviceOf(g1)).toBeUndefined()
  })
})
