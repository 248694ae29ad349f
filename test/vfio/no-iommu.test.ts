/** Devices without an IOMMU (02 §8 E25 and E26), and emulated devices in a native container (02 §6.8). */
import { expect, test } from 'vitest'
import {
  CLEAR,
  GET,
  getDevice,
  getDeviceFails,
  groupStatus,
  mapDma,
  numberedPages,
  openGroup,
  SET,
  scratchCommand,
  scratchRegisterIs,
  scratchSees,
  setContainer,
  unsetContainer,
  vfioIoas,
} from '../../conformance/cases/vfio-steps.ts'
import { playOnEngine } from '../../conformance/doors/engine.ts'
import { example, fails, ok, problemsOf, returns, type Steps } from '../../conformance/example.ts'
import { B, PAGE } from '../../conformance/places.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Vfio, type VfioOptions } from '../../src/vfio/vfio.ts'

const CHECK_EXTENSION = 0x3b65
const SET_IOMMU = 0x3b66
const CAP_SYS_RAWIO = 17
const NO_IOMMU = 'noiommu-0'

const play = (title: string, options: VfioOptions, steps: (t: Steps) => void): void => {
  test(title, () => {
    const machine = new Machine()
    const vfio = new Vfio(machine, options)
    vfio.addNoIommu({
      name: 'bare',
      group: 0,
      driver: () => ({ name: 'bare', open: () => undefined, close: () => undefined }),
    })
    vfio.addEmulated({ name: 'scratch0', group: 7 })
    const { script, checks } = example(title, steps)
    const transcript = playOnEngine(`${script.join('\n')}\n`, machine)
      .trimEnd()
      .split('\n')
      .slice(1)
    expect(problemsOf({ title, needs: [], script, checks }, transcript)).toEqual([])
  })
}

const extensions = (t: Steps, wanted: Readonly<Record<number, number>>): void => {
  for (const [extension, answer] of Object.entries(wanted))
    t.ioctl(CHECK_EXTENSION, BigInt(extension), returns(answer))
}

play('02 §8 E25 No-IOMMU', {}, (t) => {
  t.buffer()
  t.open()
  openGroup(t, NO_IOMMU, 1)
  groupStatus(t, 1, 1)
  setContainer(t, 1)
  vfioIoas(t, GET, 0, fails('ENODEV'))
  extensions(t, { 1: 0, 3: 0, 9: 0, 8: 1 })
  t.ioctl(CHECK_EXTENSION, 4n, fails('ENODEV'))
  t.ioctl(SET_IOMMU, 1n, fails('EINVAL'))
  t.ioctl(SET_IOMMU, 8n, ok())
  t.ioctl(SET_IOMMU, 8n, ok())
  mapDma(t, 0n, PAGE, fails('ENODEV'))
  getDevice(t, 1, 'bare', 3)
  unsetContainer(t, 1)
  openGroup(t, 7, 2)
  setContainer(t, 2, { wanted: fails('EINVAL') })
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  vfioIoas(t, SET, 1)
  setContainer(t, 1, { wanted: fails('EINVAL') })
  vfioIoas(t, CLEAR)
  setContainer(t, 1)
  vfioIoas(t, SET, 1)
  mapDma(t, 0n, PAGE)
  t.close(3)
  getDeviceFails(t, 1, 'bare', 'EPERM')
})

play('02 §8 E26 No-IOMMU after normal use', {}, (t) => {
  t.open()
  openGroup(t, 7, 2)
  setContainer(t, 2)
  openGroup(t, NO_IOMMU, 1)
  setContainer(t, 1, { wanted: fails('EINVAL') })
  vfioIoas(t, CLEAR)
  setContainer(t, 1)
})

play('02 §4.2, §4.6 and §3.3: what CAP_SYS_RAWIO is asked for', {}, (t) => {
  t.open()
  openGroup(t, NO_IOMMU, 1)
  setContainer(t, 1)
  t.plain(`dropcap ${CAP_SYS_RAWIO}`, 0)
  t.ioctl(SET_IOMMU, 8n, fails('EPERM'))
  getDeviceFails(t, 1, 'bare', 'EPERM')
  t.close(1)
  t.plain('open 1 /dev/vfio/noiommu-0 2', fails('EPERM').returns)
})

play('02 §6.2 and §6.3: a native container of no-IOMMU groups', { container: 'type1' }, (t) => {
  t.open('/dev/vfio/vfio')
  extensions(t, { 1: 1, 8: 1 })
  openGroup(t, NO_IOMMU, 1)
  setContainer(t, 1)
  extensions(t, { 1: 0, 3: 0, 8: 1 })
  openGroup(t, 7, 2)
  setContainer(t, 2, { wanted: fails('EPERM') })
  t.ioctl(SET_IOMMU, 1n, fails('ENODEV'))
  t.ioctl(SET_IOMMU, 8n, ok())
  t.step('VFIO_IOMMU_GET_INFO', {}, fails('ENOTTY'))
  getDevice(t, 1, 'bare', 3)
  t.close(3)
  t.plain(`dropcap ${CAP_SYS_RAWIO}`, 0)
  getDeviceFails(t, 1, 'bare', 'EPERM')
  unsetContainer(t, 1)
  setContainer(t, 1, { wanted: fails('EPERM') })
  setContainer(t, 2)
  extensions(t, { 1: 1, 8: 0 })
})

/** The scratch device in a native container in slot 0, its file in slot 3. */
const inNativeContainer = (t: Steps, type: bigint): void => {
  numberedPages(t, 4)
  t.open('/dev/vfio/vfio')
  openGroup(t, 7, 2)
  setContainer(t, 2)
  getDeviceFails(t, 2, 'scratch0', 'EINVAL')
  t.ioctl(SET_IOMMU, type, ok())
  getDevice(t, 2, 'scratch0', 3)
}

play('02 §6.8: an emulated device under TYPE1v2', { container: 'type1' }, (t) => {
  inNativeContainer(t, 3n)
  // Nothing restricts IOVAs, so that GET_INFO has no ranges; vaddr cannot be updated.
  t.step(
    'VFIO_IOMMU_GET_INFO',
    {},
    ok({ argsz: 72, flags: 3, iova_pgsizes: 0xfffffffffffff000n, cap_offset: 0 }),
  )
  extensions(t, { 4: 1, 10: 0 })
  t.step('VFIO_IOMMU_UNMAP_DMA', { flags: 4, iova: 0n, size: PAGE }, fails('EBUSY'))
  mapDma(t, 0x1000n, 2n * PAGE)
  scratchSees(t, 3, 0x2000n, 2)
  scratchCommand(t, 3, 'READ', { iova: 0x5000n, length: 4, status: 22 })
  // Writing needs READ as well.
  t.step('VFIO_IOMMU_MAP_DMA', { flags: 2, vaddr: B, iova: 0x8000n, size: PAGE }, ok())
  scratchCommand(t, 3, 'WRITE', { iova: 0x8000n, length: 4, status: 1 })
  scratchCommand(t, 3, 'PIN_WRITE', { iova: 0x8000n, length: 4 })
  scratchCommand(t, 3, 'PIN_READ', { iova: 0x8000n, length: 4, status: 1 })
  scratchCommand(t, 3, 'PIN_READ', { iova: 0x1000n, length: 513 * 4096, status: 7 })
  scratchRegisterIs(t, 3, 'PINNED', 1)
  t.step('VFIO_IOMMU_UNMAP_DMA', { flags: 2 }, ok({ size: 3n * PAGE }))
  scratchRegisterIs(t, 3, 'PINNED', 0)
  unsetContainer(t, 2, fails('EBUSY'))
})

play('02 §6.8: an emulated device under TYPE1', { container: 'type1' }, (t) => {
  inNativeContainer(t, 1n)
  mapDma(t, 0x1000n, 2n * PAGE)
  scratchSees(t, 3, 0x1000n, 1)
  scratchCommand(t, 3, 'PIN_READ', { iova: 0x1000n, length: 4, status: 13 })
})
