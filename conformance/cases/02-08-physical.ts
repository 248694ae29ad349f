/** 02 §8, the examples with groups and device files, played with physical devices. */
import { example, fails, ok, returns, type Steps, words } from '../example.ts'
import { ARRAY, B, PAGE, pciDevices, STRUCT, UNMAPPED } from '../places.ts'
import {
  CLEAR,
  compatIoasIs,
  GET,
  getDevice,
  getDeviceFails,
  groupStatus,
  mapDma,
  openGroup,
  RW,
  SET,
  setContainer,
  unsetContainer,
  vfioIoas,
} from './vfio-steps.ts'

const CHECK_EXTENSION = 0x3b65
const SET_IOMMU = 0x3b66
const GET_INFO = 0x3b70
const ATTACH = 0x3b77
const DETACH = 0x3b78
const needs = { needs: ['vfio-devices'] } as const

/** D of the examples, a second device like it, and two that share a group. */
const [D, SECOND, X, Y] = pciDevices
const PAGE_SIZES = 0x4020_1000n
const ALL_PAGE_SIZES = 0xffff_ffff_ffff_f000n

const destroy = (t: Steps, id: number, wanted = ok()): void => t.step('DESTROY', { id }, wanted)
const allocates = (t: Steps, out_ioas_id: number): void =>
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id }))
const unmapDma = (t: Steps, iova: bigint, size: bigint, wanted = ok()): void =>
  t.step('VFIO_IOMMU_UNMAP_DMA', { iova, size }, wanted)
const unmapAll = (t: Steps, size: bigint): void =>
  t.step('VFIO_IOMMU_UNMAP_DMA', { flags: 2 }, ok({ size }))
const info = (t: Steps, argsz: number, iova_pgsizes: bigint): void =>
  t.step('VFIO_IOMMU_GET_INFO', {}, ok({ argsz, flags: 3, iova_pgsizes, cap_offset: 0 }))
const setIommu = (t: Steps, type: bigint, wanted = ok()): void => t.ioctl(SET_IOMMU, type, wanted)

/** Slots: the container is 0, groups and devices have their own. */
const [G1, G2, D1, D2, E, E2, C2] = [1, 2, 3, 4, 5, 6, 7]

const linked = (t: Steps): void => {
  t.buffer()
  t.open()
  openGroup(t, D.group, G1)
  setContainer(t, G1)
}

const getInfoBytes = (t: Steps): void => {
  const fixed = (cap_offset: number): number[] => [
    ...words(88, 3, Number(PAGE_SIZES), 0, cap_offset, 0),
  ]
  const available = (next: number): number[] => [...words(0x00010003, next, 0xffffffff)]
  const untouched = (length: number): number[] => new Array<number>(length).fill(0xaa)
  const ranges = [...words(0, 0, 0xfedfffff, 0, 0xfef00000, 0, 0xffffffff, 0x0000ffff)]
  const whole = [
    ...fixed(24),
    ...available(40),
    ...untouched(4),
    ...words(0x00010001, 0, 2, 0),
    ...ranges,
  ]
  for (const [argsz, wanted] of [
    [88, whole],
    [200, whole],
    [87, [...fixed(0), ...available(40), ...untouched(20), ...ranges.slice(0, 16)]],
    [40, [...fixed(0), ...available(40)]],
    [36, [...fixed(0), ...available(0)]],
    [16, fixed(0).slice(0, 16)],
  ] as const) {
    t.fill(STRUCT, 256n, 0xaa)
    t.poke(STRUCT, words(argsz))
    t.ioctl(GET_INFO, STRUCT, ok())
    t.sees(STRUCT, [...wanted, ...untouched(256 - wanted.length)])
  }
}

export const e4 = example(
  '02 §8 E4 and E5 Legacy program on an iommufd; IDs; GET_INFO bytes',
  (t) => {
    t.buffer()
    t.open()
    openGroup(t, D.group, G1)
    groupStatus(t, G1, 1)
    setContainer(t, G1)
    groupStatus(t, G1, 3)
    compatIoasIs(t, 1)
    setIommu(t, 3n)
    info(t, 72, ALL_PAGE_SIZES)
    mapDma(t, 0x100000n, 0x10000n)
    getDevice(t, G1, D.address, D1)
    info(t, 88, PAGE_SIZES)
    getInfoBytes(t)
    allocates(t, 4)
    for (const id of [1, 2, 3]) destroy(t, id, fails('EBUSY'))
    t.close(D1)
    allocates(t, 2)
    info(t, 72, ALL_PAGE_SIZES)
    unmapAll(t, 0x10000n)
    destroy(t, 1)
    vfioIoas(t, GET, 0, fails('ENODEV'))
  },
  needs,
)

export const e6 = example(
  '02 §8 E6 SET_IOMMU order and repetition',
  (t) => {
    const hugePagesAre = (value: bigint): void =>
      t.step('OPTION', { option_id: 1, op: 1, object_id: 1, val64: 9n }, ok({ val64: value }))
    linked(t)
    setIommu(t, 1n)
    setIommu(t, 1n)
    hugePagesAre(0n)
    setIommu(t, 3n)
    hugePagesAre(0n)
    t.step('OPTION', { option_id: 1, op: 0, object_id: 1, val64: 1n }, ok())
    hugePagesAre(1n)
    getDevice(t, G1, D.address, D1)
    mapDma(t, 0x100000n, 0x1000n)
    setIommu(t, 1n, fails('EINVAL'))
    setIommu(t, 3n)
    unmapDma(t, 0x100000n, 0x1000n)
    setIommu(t, 1n)
  },
  needs,
)

export const e7 = example(
  '02 §8 E7 No SET_IOMMU at all',
  (t) => {
    linked(t)
    getDevice(t, G1, D.address, D1)
    mapDma(t, 0n, 0x1000n)
    info(t, 88, PAGE_SIZES)
    t.ioctl(CHECK_EXTENSION, 4n, returns(0))
  },
  needs,
)

export const e13 = example(
  '02 §8 E13 MAP_DMA errors with D attached',
  (t) => {
    linked(t)
    getDevice(t, G1, D.address, D1)
    mapDma(t, 0x800n, PAGE, fails('EINVAL'))
    mapDma(t, 0n, PAGE, fails('EINVAL'), B + 0x800n)
    mapDma(t, 0n, 0x800n, fails('EINVAL'))
    mapDma(t, 0xfee00000n, PAGE, fails('EINVAL'))
    mapDma(t, 0x1000000000000n, PAGE, fails('EINVAL'))
    mapDma(t, 0n, PAGE, fails('EFAULT'), UNMAPPED)
    t.protect(B + PAGE, PAGE, 'r')
    mapDma(t, 0n, PAGE, fails('EFAULT'), B + PAGE)
    t.step('VFIO_IOMMU_MAP_DMA', { flags: 1, vaddr: B + PAGE, iova: 0n, size: PAGE }, ok())
    t.step(
      'VFIO_IOMMU_MAP_DMA',
      { flags: 0, vaddr: B, iova: 0x10000n, size: PAGE },
      fails('EINVAL'),
    )
  },
  needs,
)

export const e14 = example(
  '02 §8 E14 A map that only fails at GET_DEVICE_FD',
  (t) => {
    linked(t)
    mapDma(t, 0xfee00000n, PAGE)
    getDeviceFails(t, G1, D.address, 'EADDRINUSE')
    unmapDma(t, 0xfee00000n, PAGE)
    mapDma(t, 0n, PAGE, ok(), UNMAPPED)
    getDeviceFails(t, G1, D.address, 'EFAULT')
    unmapAll(t, PAGE)
    t.step('VFIO_IOMMU_MAP_DMA', { flags: 0, vaddr: B, iova: 0n, size: PAGE }, ok())
    getDeviceFails(t, G1, D.address, 'EINVAL')
    unmapAll(t, PAGE)
    getDevice(t, G1, D.address, D1)
  },
  needs,
)

export const e15 = example(
  '02 §8 E15 Two devices, one iommufd, two IOASes',
  (t) => {
    linked(t)
    getDevice(t, G1, D.address, D1)
    allocates(t, 4)
    vfioIoas(t, SET, 4)
    openGroup(t, SECOND.group, G2)
    setContainer(t, G2)
    compatIoasIs(t, 4)
    getDevice(t, G2, SECOND.address, D2)
    allocates(t, 7)
    destroy(t, 7)
    mapDma(t, 0x1000n, PAGE)
    t.step('IOAS_UNMAP', { ioas_id: 1, iova: 0x1000n, length: PAGE }, fails('ENOENT'))
    destroy(t, 1, fails('EBUSY'))
    vfioIoas(t, CLEAR)
    mapDma(t, 0x2000n, PAGE, fails('ENODEV'))
    destroy(t, 1, fails('EBUSY'))
    destroy(t, 4, fails('EBUSY'))
    getDevice(t, G1, D.address, E)
    t.close(D1)
    destroy(t, 1, fails('EBUSY'))
    t.close(E)
    getDeviceFails(t, G1, D.address, 'ENODEV')
    destroy(t, 1)
  },
  needs,
)

export const e16 = example(
  '02 §8 E16 The same with two devices of one IOMMU group',
  (t) => {
    t.open()
    openGroup(t, X.group, G1)
    setContainer(t, G1)
    getDevice(t, G1, X.address, D1)
    allocates(t, 4)
    vfioIoas(t, SET, 4)
    getDeviceFails(t, G1, Y.address, 'EINVAL')
    vfioIoas(t, SET, 1)
    getDevice(t, G1, Y.address, D2)
    // One HWPT for both: 1 and 4 are IOASes, 2 and 5 devices, 3 is the HWPT.
    allocates(t, 6)
  },
  needs,
)

export const e17 = example(
  '02 §8 E17 CLEAR before the device',
  (t) => {
    linked(t)
    vfioIoas(t, CLEAR)
    getDeviceFails(t, G1, D.address, 'ENODEV')
    groupStatus(t, G1, 3)
    unsetContainer(t, G1)
    setContainer(t, G1)
    compatIoasIs(t, 2)
    getDevice(t, G1, D.address, D1)
  },
  needs,
)

export const e18 = example(
  '02 §8 E18 The compat IOAS does not belong to the group that caused it',
  (t) => {
    linked(t)
    vfioIoas(t, CLEAR)
    openGroup(t, SECOND.group, G2)
    setContainer(t, G2)
    compatIoasIs(t, 2)
    getDevice(t, G1, D.address, D1)
    destroy(t, 1)
    destroy(t, 2, fails('EBUSY'))
  },
  needs,
)

export const e19 = example(
  '02 §8 E19 SET_CONTAINER and UNSET_CONTAINER errors',
  (t) => {
    t.open()
    openGroup(t, D.group, G1)
    unsetContainer(t, G1, fails('EINVAL'))
    t.ioctl(0x3b68, 0n, fails('EFAULT'), G1)
    setContainer(t, G1, { container: -1, wanted: fails('EBADF') })
    t.open('/dev/null', { slot: E })
    setContainer(t, G1, { container: E, wanted: fails('EBADFD') })
    setContainer(t, G1, { container: G1, wanted: fails('EBADFD') })
    getDeviceFails(t, G1, D.address, 'EINVAL')
    getDeviceFails(t, G1, 'nosuch', 'ENODEV')
    getDeviceFails(t, G1, SECOND.address, 'ENODEV')
    setContainer(t, G1)
    setContainer(t, G1, { wanted: fails('EINVAL') })
    setContainer(t, G1, { container: -1, wanted: fails('EBADF') })
    getDeviceFails(t, G1, 'nosuch', 'ENODEV')
    getDeviceFails(t, G1, `${D.address}x`, 'ENODEV')
    getDeviceFails(t, G1, `${D.address} foo`, 'EINVAL')
    const token = 'vf_token=00112233-4455-6677-8899-aabbccddeeff'
    getDeviceFails(t, G1, `${D.address} ${token}`, 'EINVAL')
    getDeviceFails(t, G1, `${D.address} ${token} ${token}`, 'EINVAL')
    getDeviceFails(t, G1, `${D.address} vf_token=0011`, 'EINVAL')
    getDevice(t, G1, `${D.address}  `, D1)
    t.close(D1)
    t.ioctl(0x3b6a, UNMAPPED, fails('EFAULT'), G1)
    t.fill(ARRAY, 2n * PAGE, 0x61)
    t.ioctl(0x3b6a, ARRAY, fails('EINVAL'), G1)
    t.ioctl(0x3b6a, ARRAY + 2n * PAGE - 8n, fails('EFAULT'), G1)
    unsetContainer(t, G1)
    t.plain(`open ${G2} /dev/vfio/${D.group} 2`, fails('EBUSY').returns)
    t.ioctl(0x3b6b, STRUCT, fails('ENOTTY'), G1)
    t.step('VFIO_GROUP_GET_STATUS', { argsz: 7 }, fails('EINVAL'), { slot: G1 })
    t.ioctl(0x3b67, 0n, fails('EFAULT'), G1)
  },
  needs,
)

export const e20 = example(
  '02 §8 E20 UNSET_CONTAINER with an open device',
  (t) => {
    linked(t)
    getDevice(t, G1, D.address, D1)
    unsetContainer(t, G1)
    groupStatus(t, G1, 0)
    getDeviceFails(t, G1, D.address, 'EINVAL')
    mapDma(t, 0x1000n, PAGE)
    t.close(0)
    t.open('/dev/iommu', { slot: C2 })
    setContainer(t, G1, { container: C2 })
    getDevice(t, G1, D.address, E)
    t.step('VFIO_IOMMU_GET_INFO', {}, ok({ argsz: 72, flags: 3, iova_pgsizes: ALL_PAGE_SIZES }), {
      slot: C2,
    })
    t.close(D1)
    t.close(E)
    getDevice(t, G1, D.address, D1)
    t.step('VFIO_IOMMU_GET_INFO', {}, ok({ argsz: 88, flags: 3, iova_pgsizes: PAGE_SIZES }), {
      slot: C2,
    })
  },
  needs,
)

export const e21 = example(
  '02 §8 E21 Group file closed, device open',
  (t) => {
    linked(t)
    getDevice(t, G1, D.address, D1)
    t.close(G1)
    openGroup(t, D.group, G1)
    groupStatus(t, G1, 0)
    t.open('/dev/vfio/devices/vfio0', { slot: E })
    const bind = (wanted = ok()): void =>
      t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100 }, wanted, { slot: E })
    bind(fails('EBUSY'))
    t.close(G1)
    bind(fails('EINVAL'))
    t.close(D1)
    bind(ok({ out_devid: 2 }))
  },
  needs,
)

/** A bound cdev file of D in slot E, device 1 of the context. */
const bound = (t: Steps): void => {
  t.open('/dev/vfio/devices/vfio0', { slot: E })
  t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100 }, ok({ out_devid: 1 }), { slot: E })
}

export const e22 = example(
  '02 §8 E22 cdev bind',
  (t) => {
    t.open()
    t.open('/dev/vfio/devices/vfio0', { slot: E })
    const bind = (fields: Record<string, number | bigint>, wanted = ok(), slot = E): void =>
      t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100, ...fields }, wanted, { slot })
    t.ioctl(0x3b6b, STRUCT, fails('EINVAL'), E)
    t.ioctl(0x3bff, UNMAPPED, fails('EINVAL'), E)
    t.plain(`pread ${E} ${ARRAY} 4 ${7n << 40n}`, fails('EINVAL').returns)
    t.plain(`mapfd 0 4096 r shared ${E} 0`, fails('EINVAL').returns)
    t.ioctl(0x3b76, 0n, fails('EFAULT'), E)
    bind({ argsz: 15 }, fails('EINVAL'))
    t.step('VFIO_DEVICE_BIND_IOMMUFD', { argsz: 32, iommufd: 100 }, fails('E2BIG'), {
      slot: E,
      tail: [1, 0, 0, 0, 0, 0, 0, 0],
    })
    bind({ iommufd: -1 }, fails('EINVAL'))
    bind({ flags: 2 }, fails('EINVAL'))
    bind({ flags: 1, token_uuid_ptr: ARRAY }, fails('EINVAL'))
    bind({ flags: 1, token_uuid_ptr: UNMAPPED }, fails('EFAULT'))
    t.open('/dev/null', { slot: D1 })
    bind({ iommufd: 100 + D1 }, fails('EBADFD'))
    bind({ iommufd: 9999 }, fails('EBADF'))
    t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100 }, fails('EFAULT'), {
      slot: E,
      readOnly: true,
    })
    bind({ argsz: 16 }, ok({ out_devid: 1 }))
    bind({}, fails('EINVAL'))
    t.plain(`open ${G1} /dev/vfio/${D.group} 2`, fails('EBUSY').returns)
    t.open('/dev/vfio/devices/vfio0', { slot: E2 })
    bind({}, fails('EINVAL'), E2)
    destroy(t, 1, fails('EBUSY'))
    t.close(E)
    destroy(t, 1, fails('ENOENT'))
    bind({}, ok({ out_devid: 1 }), E2)
  },
  needs,
)

export const e23 = example(
  '02 §8 E23 Attach, replace, detach',
  (t) => {
    t.open()
    bound(t)
    const attach = (fields: Record<string, number | bigint>, wanted = ok()): void =>
      t.step('VFIO_DEVICE_ATTACH_IOMMUFD_PT', fields, wanted, { slot: E })
    const detach = (fields: Record<string, number | bigint> = {}, wanted = ok()): void =>
      t.step('VFIO_DEVICE_DETACH_IOMMUFD_PT', fields, wanted, { slot: E })
    allocates(t, 2)
    attach({ pt_id: 2 }, ok({ pt_id: 3 }))
    attach({ pt_id: 2 }, ok({ pt_id: 3 }))
    allocates(t, 4)
    attach({ pt_id: 4 }, ok({ pt_id: 5 }))
    destroy(t, 3, fails('ENOENT'))
    destroy(t, 2)
    attach({ pt_id: 1 }, fails('EINVAL'))
    attach({ pt_id: 99 }, fails('ENOENT'))
    destroy(t, 4, fails('EBUSY'))
    attach({ argsz: 11, pt_id: 4 }, fails('EINVAL'))
    attach({ flags: 2, pt_id: 4 }, fails('EINVAL'))
    attach({ argsz: 12, flags: 1, pt_id: 4 }, fails('EINVAL'))
    detach({ argsz: 7 }, fails('EINVAL'))
    detach({ flags: 2 }, fails('EINVAL'))
    detach({ argsz: 8, flags: 1 }, fails('EINVAL'))
    vfioIoas(t, GET, 0, fails('ENODEV'))
    detach()
    detach()
    destroy(t, 5, fails('ENOENT'))
    // A fault when the answer is stored detaches again, also after a replace.
    attach({ pt_id: 4 }, ok({ pt_id: 2 }))
    t.step('VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: 4 }, fails('EFAULT'), {
      slot: E,
      readOnly: true,
    })
    destroy(t, 4)
    vfioIoas(t, GET, 0, fails('ENODEV'))
  },
  needs,
)

export const pasidZero = example(
  '02 §5.5 PASID 0 is the device itself',
  (t) => {
    t.open()
    bound(t)
    allocates(t, 2)
    const attach = (fields: Record<string, number | bigint>, wanted = ok()): void =>
      t.step('VFIO_DEVICE_ATTACH_IOMMUFD_PT', fields, wanted, { slot: E })
    const detach = (fields: Record<string, number | bigint> = {}, wanted = ok()): void =>
      t.step('VFIO_DEVICE_DETACH_IOMMUFD_PT', fields, wanted, { slot: E })
    attach({ flags: 1, pt_id: 99, pasid: 0x80000000 }, fails('ENOSPC'))
    attach({ flags: 1, pt_id: 99, pasid: 0xffffffea }, fails('ENOENT'))
    attach({ flags: 1, pt_id: 2, pasid: 0xffffffea }, fails('EINVAL'))
    attach({ flags: 1, pt_id: 2, pasid: 5 }, fails('EINVAL'))
    attach({ pt_id: 2 }, ok({ pt_id: 3 }))
    attach({ flags: 1, pt_id: 2, pasid: 0 }, fails('EBUSY'))
    detach()
    attach({ flags: 1, pt_id: 2, pasid: 0 }, ok({ pt_id: 3 }))
    attach({ pt_id: 2 }, fails('EBUSY'))
    detach()
    destroy(t, 3, fails('EBUSY'))
    attach({ flags: 1, pt_id: 2, pasid: 0 }, ok({ pt_id: 3 }))
    detach({ flags: 1, pasid: 7 })
    destroy(t, 3, fails('EBUSY'))
    detach({ flags: 1, pasid: 0 })
    destroy(t, 3, fails('ENOENT'))
  },
  needs,
)

export const exclusivity = example(
  '02 §4.8 and §4.9 DMA ownership, and group against cdev',
  (t) => {
    t.open()
    t.open('/dev/iommu', { slot: C2 })
    openGroup(t, X.group, G1)
    t.open('/dev/vfio/devices/vfio3', { slot: E2 })
    setContainer(t, G1)
    getDevice(t, G1, X.address, D1)
    t.close(G1)
    // Y through its cdev: the same context may have it, another may not.
    const bindY = (iommufd: number, wanted = ok()): void =>
      t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd }, wanted, { slot: E2 })
    bindY(100 + C2, fails('EPERM'))
    bindY(100, ok({ out_devid: 4 }))
    t.plain(`open ${G1} /dev/vfio/${X.group} 2`, fails('EBUSY').returns)
    t.close(E2)
    openGroup(t, X.group, G1)
    groupStatus(t, G1, 0)
    t.ioctl(ATTACH, UNMAPPED, fails('ENOTTY'), D1)
    t.ioctl(DETACH, UNMAPPED, fails('ENOTTY'), D1)
    t.step('VFIO_DEVICE_FEATURE', { argsz: 8, flags: 0x40001 }, fails('ENOTTY'), { slot: D1 })
    t.ioctl(0x3bff, UNMAPPED, fails('ENOTTY'), D1)
  },
  needs,
)

/** Between `flags` and `pgsize_bitmap`. */
const MIGRATION_PADDING = words(0)

/** The native container in slot 0. */
const native = (t: Steps): void => t.open('/dev/vfio/vfio')

export const e30 = example(
  '02 §8 E30 Native personality',
  (t) => {
    t.buffer()
    native(t)
    t.step('VFIO_IOMMU_GET_INFO', {}, fails('EINVAL'))
    t.ioctl(0x3b85, UNMAPPED, fails('EINVAL'))
    setIommu(t, 3n, fails('EINVAL'))
    for (const extension of [1n, 3n, 9n]) t.ioctl(CHECK_EXTENSION, extension, returns(1))
    for (const extension of [2n, 4n, 5n, 6n, 7n, 10n, 99n])
      t.ioctl(CHECK_EXTENSION, extension, returns(0))
    openGroup(t, D.group, G1)
    groupStatus(t, G1, 1)
    setContainer(t, G1)
    groupStatus(t, G1, 3)
    setContainer(t, G1, { wanted: fails('EINVAL') })
    getDeviceFails(t, G1, D.address, 'EINVAL')
    setIommu(t, 6n, fails('ENODEV'))
    setIommu(t, 8n, fails('ENODEV'))
    setIommu(t, 3n)
    setIommu(t, 3n, fails('EINVAL'))
    t.ioctl(CHECK_EXTENSION, 4n, returns(0))
    t.ioctl(CHECK_EXTENSION, 10n, returns(1))
    t.ioctl(CHECK_EXTENSION, 8n, returns(0))
    t.step(
      'VFIO_IOMMU_GET_INFO',
      {},
      ok({ argsz: 120, flags: 3, iova_pgsizes: PAGE_SIZES, cap_offset: 0 }),
    )
    t.fill(STRUCT, 256n, 0xaa)
    t.poke(STRUCT, words(200))
    t.ioctl(GET_INFO, STRUCT, ok())
    t.sees(STRUCT, [
      ...words(200, 3, Number(PAGE_SIZES), 0, 24, 0),
      ...words(0x00010002, 56, 0),
      ...MIGRATION_PADDING,
      ...words(0x1000, 0, 0x10000000, 0),
      ...words(0x00010003, 72, 65535, 0),
      ...words(0x00010001, 0, 2, 0, 0, 0, 0xfedfffff, 0, 0xfef00000, 0, 0xffffffff, 0xffff),
      ...new Array<number>(256 - 120).fill(0xaa),
    ])
    t.step('VFIO_IOMMU_MAP_DMA', { flags: 0, vaddr: B, iova: 0n, size: PAGE }, fails('EINVAL'))
    mapDma(t, 0x10000n, 0x4000n)
    unmapDma(t, 0x11000n, 0x1000n, fails('EINVAL'))
    getDevice(t, G1, D.address, D1)
    unsetContainer(t, G1, fails('EBUSY'))
    t.close(G1)
    t.plain(`open ${G1} /dev/vfio/${D.group} 2`, fails('EBUSY').returns)
    t.close(D1)
    openGroup(t, D.group, G1)
    setContainer(t, G1)
    setIommu(t, 1n)
    mapDma(t, 0x10000n, 0x4000n)
    unmapDma(t, 0x11000n, 0x1000n, ok({ size: 0n }))
    unmapDma(t, 0x10000n, 0x1000n, ok({ size: 0x4000n }))
    t.ioctl(0x3b85, UNMAPPED, fails('ENOTTY'))
    t.ioctl(0x3b75, UNMAPPED, fails('EACCES'))
  },
  needs,
)

/** D in a native container with TYPE1v2. */
const nativeLinked = (t: Steps, type = 3n): void => {
  t.buffer()
  native(t)
  openGroup(t, D.group, G1)
  setContainer(t, G1)
  setIommu(t, type)
}

export const nativeMap = example(
  '02 §6.5 and §6.6 MAP_DMA and UNMAP_DMA of the native container',
  (t) => {
    nativeLinked(t)
    const map = (fields: Record<string, number | bigint>, wanted = ok()): void =>
      t.step('VFIO_IOMMU_MAP_DMA', { flags: RW, vaddr: B, iova: 0n, size: PAGE, ...fields }, wanted)
    map({ argsz: 31 }, fails('EINVAL'))
    map({ flags: 8 }, fails('EINVAL'))
    map({ size: 0 }, fails('EINVAL'))
    map({ iova: 0xfffffffffffff000n, size: 0x2000n }, fails('EOVERFLOW'))
    map({ vaddr: 0xfffffffffffff000n, size: 0x2000n }, fails('EOVERFLOW'))
    map({ vaddr: 0xfffffffffffff000n }, fails('EFAULT'))
    map({ flags: 7 }, fails('EINVAL'))
    map({ flags: 4 }, fails('ENOENT'))
    map({ iova: 0x800n }, fails('EINVAL'))
    map({ vaddr: B + 0x800n }, fails('EINVAL'))
    map({ size: 0x800n }, fails('EINVAL'))
    map({ iova: 0xfee00000n }, fails('EINVAL'))
    map({ iova: 0x1000000000000n }, fails('EINVAL'))
    map({ vaddr: UNMAPPED }, fails('EFAULT'))
    map({ iova: 0x10000n, size: 0x4000n })
    map({ iova: 0x13000n, size: 0x2000n }, fails('EEXIST'))
    map({ iova: 0x10000n, size: 0x4000n, flags: 4 }, fails('EINVAL'))
    map({ iova: 0x20000n, size: 0x4000n })
    const unmap = (fields: Record<string, number | bigint>, wanted = ok()): void =>
      t.step('VFIO_IOMMU_UNMAP_DMA', fields, wanted)
    unmap({ argsz: 23 }, fails('EINVAL'))
    unmap({ flags: 8 }, fails('EINVAL'))
    unmap({ flags: 3 }, fails('EINVAL'))
    unmap({ iova: 0x800n, size: PAGE }, fails('EINVAL'))
    unmap({ iova: 0n, size: 0n }, fails('EINVAL'))
    unmap({ iova: 0n, size: 0x800n }, fails('EINVAL'))
    unmap({ iova: 0xfffffffffffff000n, size: 0x2000n }, fails('EOVERFLOW'))
    unmap({ flags: 2, iova: PAGE }, fails('EINVAL'))
    unmap({ iova: 0x10000n, size: 0x2000n }, fails('EINVAL'))
    unmap({ iova: 0n, size: 0x22000n }, fails('EINVAL'))
    unmap({ iova: 0x50000n, size: PAGE }, ok({ size: 0n }))
    // The vaddr of a mapping is invalidated and renewed.
    unmap({ flags: 4, iova: 0x10000n, size: 0x4000n })
    unmap({ flags: 4, iova: 0x10000n, size: 0x14000n }, fails('EINVAL'))
    map({ flags: 4, iova: 0x10000n, size: PAGE }, fails('EINVAL'))
    openGroup(t, SECOND.group, G2)
    setContainer(t, G2, { wanted: fails('EBUSY') })
    map({ flags: 4, iova: 0x10000n, size: 0x4000n, vaddr: B + 0x10000n })
    setContainer(t, G2)
    unmap({ flags: 6 }, ok({ size: 0x8000n }))
    unmap({ flags: 2 }, ok({ size: 0x8000n }))
  },
  needs,
)

export const nativeTwoGroups = example(
  '02 §6.2 Groups of a native container come and go',
  (t) => {
    nativeLinked(t)
    mapDma(t, 0x10000n, PAGE)
    openGroup(t, SECOND.group, G2)
    setContainer(t, G2)
    // The cdev of a group in a container cannot be bound.
    t.open('/dev/iommu', { slot: C2 })
    t.open('/dev/vfio/devices/vfio0', { slot: E })
    t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100 + C2 }, fails('EBUSY'), { slot: E })
    unsetContainer(t, G1)
    mapDma(t, 0x10000n, PAGE, fails('EEXIST'))
    // Another container cannot have a group that is taken.
    t.open('/dev/vfio/vfio', { slot: E2 })
    setContainer(t, G2, { container: E2, wanted: fails('EINVAL') })
    setContainer(t, G1, { container: E2 })
    t.ioctl(SET_IOMMU, 1n, ok(), E2)
    unsetContainer(t, G2)
    mapDma(t, 0x10000n, PAGE, fails('EINVAL'))
    setContainer(t, G2)
    setIommu(t, 1n)
    mapDma(t, 0x10000n, PAGE)
    // A container closed with a group in it changes nothing for the group.
    t.close(0)
    getDevice(t, G2, SECOND.address, D2)
  },
  needs,
)

export const nativeDirty = example(
  '02 §6.7 Dirty pages of the native container',
  (t) => {
    nativeLinked(t)
    mapDma(t, 0x10000n, 0x4000n)
    const dirtyPages = (fields: number[], wanted = ok()): void => {
      t.poke(STRUCT, words(...fields))
      t.ioctl(0x3b75, STRUCT, wanted)
    }
    /** argsz, flags, iova, size, then the bitmap's pgsize, size and address. */
    const getBitmap = (iova: number, size: number, bytes: number, wanted = ok()): void => {
      t.fill(ARRAY, 64n, 0x55)
      dirtyPages(
        [
          48,
          4,
          iova,
          0,
          size,
          0,
          0x1000,
          0,
          bytes,
          0,
          Number(ARRAY % 0x100000000n),
          Number(ARRAY >> 32n),
        ],
        wanted,
      )
    }
    dirtyPages([7, 1], fails('EINVAL'))
    dirtyPages([8, 0], fails('EINVAL'))
    dirtyPages([8, 3], fails('EINVAL'))
    dirtyPages([8, 8], fails('EINVAL'))
    getBitmap(0x10000, 0x4000, 8, fails('EINVAL'))
    dirtyPages([8, 1])
    dirtyPages([8, 1])
    getBitmap(0x10000, 0x4000, 8)
    t.sees(ARRAY, [0x0f, 0, 0, 0, 0, 0, 0, 0, 0x55])
    // A mapping that does not begin at bit 0 of a word: the word's other bits are kept as found (0x55),
    // and what is stored stays in the log beyond the mapping's own bits, there to be seen next time.
    getBitmap(0x0f000, 0x6000, 8)
    t.sees(ARRAY, [0x5f, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55])
    getBitmap(0x10000, 0x4000, 8)
    t.sees(ARRAY, [0x5f, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55])
    mapDma(t, 0x20000n, 0x50000n)
    getBitmap(0x10000, 0x60000, 16)
    t.sees(ARRAY, words(0xffff555f, 0xffffffff, 0xffffffff, 0))
    getBitmap(0x20000, 0x50000, 16)
    t.sees(ARRAY, words(0xffffffff, 0xffffffff, 0xffffffff, 0))
    getBitmap(0x12000, 0x4000, 8, fails('EINVAL'))
    getBitmap(0x10000, 0, 8, fails('EINVAL'))
    getBitmap(0x10000, 0x4000, 0, fails('EINVAL'))
    getBitmap(0x10800, 0x4000, 8, fails('EINVAL'))
    getBitmap(0x90000, 0x4000, 8)
    t.sees(ARRAY, [0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55])
    // Unmapping can report the dirty pages of what it removes.
    t.fill(ARRAY, 64n, 0x55)
    t.poke(
      STRUCT,
      words(
        48,
        1,
        0x10000,
        0,
        0x4000,
        0,
        0x1000,
        0,
        8,
        0,
        Number(ARRAY % 0x100000000n),
        Number(ARRAY >> 32n),
      ),
    )
    t.ioctl(0x3b72, STRUCT, ok())
    t.sees(ARRAY, [0x5f, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55])
    dirtyPages([8, 2])
    dirtyPages([8, 2])
    t.step('VFIO_IOMMU_UNMAP_DMA', { flags: 1, iova: 0n, size: PAGE }, fails('EINVAL'))
  },
  needs,
)
