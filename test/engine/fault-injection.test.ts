import { describe, expect, it } from 'vitest'
import { FaultInjector, parseFailNth } from '../../src/engine/fault-injection.ts'

describe('fault injection (05 §A.11)', () => {
  it('fails exactly the Nth step of the thread, and shows what remains', () => {
    const injector = new FaultInjector()
    injector.arm(7, 3)
    expect(injector.fails(7, 'look-up-object')).toBe(false)
    expect(injector.state(7)).toEqual({ remaining: 2 })
    expect(injector.fails(8, 'look-up-object')).toBe(false)
    expect(injector.fails(7, 'copy-to-user')).toBe(false)
    expect(injector.fails(7, 'pin-pages')).toBe(true)
    expect(injector.state(7)).toEqual({ remaining: 0, failedAt: 'pin-pages' })
    expect(injector.fails(7, 'pin-pages')).toBe(false)
  })

  it('counts only the steps asked for', () => {
    const injector = new FaultInjector()
    injector.arm(1, 1, ['pin-pages'])
    expect(injector.fails(1, 'copy-to-user')).toBe(false)
    expect(injector.fails(1, 'pin-pages')).toBe(true)
  })

  it('is disarmed by 0', () => {
    const injector = new FaultInjector()
    injector.arm(1, 1)
    injector.arm(1, 0)
    expect(injector.fails(1, 'pin-pages')).toBe(false)
  })

  it('reads the numbers that Linux reads', () => {
    expect(parseFailNth('12\n')).toBe(12)
    expect(parseFailNth('0x1f')).toBe(31)
    expect(parseFailNth('010')).toBe(8)
    expect(parseFailNth('0')).toBe(0)
    expect(parseFailNth('4294967295')).toBe(4294967295)
    for (const bad of ['', '\n', '-1', '4294967296', '1 2', '1x', '08'])
      expect(parseFailNth(bad)).toBeUndefined()
  })
})
