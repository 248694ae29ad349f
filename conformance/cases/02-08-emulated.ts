/** 02 §8, the examples with groups and device files, played with emulated devices. */
import { example, fails, ok, returns, type Steps } from '../example.ts'
import { ARRAY, B, MAX, PAGE, STRUCT, UNMAPPED } from '../places.ts'
import {
  CLEAR,
  compatIoasIs,
  GET,
  getDevice,
  getDeviceFails,
  groupStatus,
  mapDma,
  numberedPages,
  openGroup,
  RW,
  SET,
  scratchCommand,
  scratchRegisterIs,
  scratchSees,
  setContainer,
  unsetContainer,
  vfioIoas,
} from './vfio-steps.ts'

const CHECK_EXTENSION = 0x3b65
const SET_IOMMU = 0x3b66
const GET_DEVICE_FD = 0x3b6a
const needs = { needs: ['scratch-devices'] } as const

const destroy = (t: Steps, id: number, wanted = ok()): void => t.step('DESTROY', { id }, wanted)
const allocates = (t: Steps, out_ioas_id: number): void =>
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id }))
const unmapAll = (t: Steps, size: bigint): void =>
  t.step('VFIO_IOMMU_UNMAP_DMA', { flags: 2 }, ok({ size }))

/** Slots: the container is 0, the groups and the devices have their own. */
const [G7, G8, D7, D8, E, E2, C2] = [1, 2, 3, 4, 5, 6, 7]

/** Group 7 in the container, with the compat IOAS 1. */
const linked = (t: Steps): void => {
  t.open()
  openGroup(t, 7, G7)
  setContainer(t, G7)
}

export const foundingQuestion = example(
  '02 §2 The founding question',
  (t) => {
    numberedPages(t, 2)
    t.open()
    vfioIoas(t, GET, 0, fails('ENODEV'))
    openGroup(t, 7, G7)
    vfioIoas(t, GET, 0, fails('ENODEV'))
    setContainer(t, G7)
    compatIoasIs(t, 1)
    t.ioctl(SET_IOMMU, 3n, ok())
    mapDma(t, 0x100000n, PAGE)
    getDevice(t, G7, 'scratch0', D7)
    scratchSees(t, D7, 0x100000n, 1)
    allocates(t, 3)
    vfioIoas(t, SET, 3)
    mapDma(t, 0x100000n, PAGE, ok(), B + PAGE)
    openGroup(t, 8, G8)
    setContainer(t, G8)
    compatIoasIs(t, 3)
    getDevice(t, G8, 'scratch1', D8)
    scratchSees(t, D7, 0x100000n, 1)
    scratchSees(t, D8, 0x100000n, 2)
    for (const id of [1, 2, 3, 4]) destroy(t, id, fails('EBUSY'))
    vfioIoas(t, CLEAR)
    scratchSees(t, D7, 0x100000n, 1)
    scratchSees(t, D8, 0x100000n, 2)
    mapDma(t, 0x200000n, PAGE, fails('ENODEV'))
    // The device is open already: the compat pointer is not consulted.
    getDevice(t, G7, 'scratch0', E)
    t.close(D7)
    scratchSees(t, E, 0x100000n, 1)
    t.close(E)
    getDeviceFails(t, G7, 'scratch0', 'ENODEV')
    destroy(t, 1)
    vfioIoas(t, SET, 3)
    t.close(D8)
    destroy(t, 3)
    vfioIoas(t, GET, 0, fails('ENODEV'))
  },
  needs,
)

export const e4 = example(
  '02 §8 E4 Legacy program on an iommufd; IDs (an emulated device)',
  (t) => {
    t.buffer()
    const info = (): void =>
      t.step(
        'VFIO_IOMMU_GET_INFO',
        {},
        ok({ argsz: 72, flags: 3, iova_pgsizes: 0xfffffffffffff000n, cap_offset: 0 }),
      )
    t.open()
    openGroup(t, 7, G7)
    groupStatus(t, G7, 1)
    setContainer(t, G7)
    groupStatus(t, G7, 3)
    compatIoasIs(t, 1)
    t.ioctl(SET_IOMMU, 3n, ok())
    info()
    mapDma(t, 0x100000n, 0x10000n)
    getDevice(t, G7, 'scratch0', D7)
    info()
    t.ioctl(CHECK_EXTENSION, 4n, returns(1))
    allocates(t, 3)
    destroy(t, 1, fails('EBUSY'))
    destroy(t, 2, fails('EBUSY'))
    t.close(D7)
    allocates(t, 2)
    info()
    unmapAll(t, 0x10000n)
    destroy(t, 1)
    vfioIoas(t, GET, 0, fails('ENODEV'))
  },
  needs,
)

export const e6 = example(
  '02 §8 E6 SET_IOMMU order and repetition (an emulated device)',
  (t) => {
    t.buffer()
    const hugePagesAre = (value: bigint): void =>
      t.step('OPTION', { option_id: 1, op: 1, object_id: 1, val64: 9n }, ok({ val64: value }))
    linked(t)
    t.ioctl(SET_IOMMU, 1n, ok())
    t.ioctl(SET_IOMMU, 1n, ok())
    hugePagesAre(0n)
    t.ioctl(SET_IOMMU, 3n, ok())
    hugePagesAre(0n)
    t.step('OPTION', { option_id: 1, op: 0, object_id: 1, val64: 1n }, ok())
    hugePagesAre(1n)
    getDevice(t, G7, 'scratch0', D7)
    mapDma(t, 0x100000n, 0x1000n)
    // Without an HWPT mappings are no obstacle, if they are aligned.
    t.ioctl(SET_IOMMU, 1n, ok())
    hugePagesAre(0n)
  },
  needs,
)

export const e7 = example(
  '02 §8 E7 No SET_IOMMU at all (an emulated device)',
  (t) => {
    t.buffer()
    linked(t)
    getDevice(t, G7, 'scratch0', D7)
    mapDma(t, 0n, 0x1000n)
    t.step('VFIO_IOMMU_GET_INFO', { argsz: 16 }, ok({ argsz: 72, flags: 3, iova_pgsizes: -4096n }))
  },
  needs,
)

export const e17 = example(
  '02 §8 E17 CLEAR before the device (an emulated device)',
  (t) => {
    linked(t)
    vfioIoas(t, CLEAR)
    getDeviceFails(t, G7, 'scratch0', 'ENODEV')
    groupStatus(t, G7, 3)
    unsetContainer(t, G7)
    setContainer(t, G7)
    compatIoasIs(t, 2)
    getDevice(t, G7, 'scratch0', D7)
  },
  needs,
)

export const e18 = example(
  '02 §8 E18 The compat IOAS does not belong to the group that caused it (emulated devices)',
  (t) => {
    linked(t)
    vfioIoas(t, CLEAR)
    openGroup(t, 8, G8)
    setContainer(t, G8)
    compatIoasIs(t, 2)
    getDevice(t, G7, 'scratch0', D7)
    destroy(t, 1)
    destroy(t, 2, fails('EBUSY'))
  },
  needs,
)

export const e19 = example(
  '02 §8 E19 SET_CONTAINER and UNSET_CONTAINER errors (an emulated device)',
  (t) => {
    t.open()
    openGroup(t, 7, G7)
    unsetContainer(t, G7, fails('EINVAL'))
    t.ioctl(0x3b68, 0n, fails('EFAULT'), G7)
    setContainer(t, G7, { container: -1, wanted: fails('EBADF') })
    t.open('/dev/null', { slot: E })
    setContainer(t, G7, { container: E, wanted: fails('EBADFD') })
    setContainer(t, G7, { container: G7, wanted: fails('EBADFD') })
    getDeviceFails(t, G7, 'scratch0', 'EINVAL')
    getDeviceFails(t, G7, 'nosuch', 'ENODEV')
    getDeviceFails(t, G7, 'scratch1', 'ENODEV')
    setContainer(t, G7)
    setContainer(t, G7, { wanted: fails('EINVAL') })
    setContainer(t, G7, { container: -1, wanted: fails('EBADF') })
    getDeviceFails(t, G7, 'nosuch', 'ENODEV')
    getDeviceFails(t, G7, 'scratch0x', 'ENODEV')
    t.ioctl(GET_DEVICE_FD, UNMAPPED, fails('EFAULT'), G7)
    t.fill(ARRAY, 2n * PAGE, 0x61)
    t.ioctl(GET_DEVICE_FD, ARRAY, fails('EINVAL'), G7)
    t.ioctl(GET_DEVICE_FD, ARRAY + 2n * PAGE - 8n, fails('EFAULT'), G7)
    unsetContainer(t, G7)
    t.plain(`open ${G8} /dev/vfio/7 2`, fails('EBUSY').returns)
    t.ioctl(0x3b6b, STRUCT, fails('ENOTTY'), G7)
    t.step('VFIO_GROUP_GET_STATUS', { argsz: 7 }, fails('EINVAL'), { slot: G7 })
    t.ioctl(0x3b67, 0n, fails('EFAULT'), G7)
  },
  needs,
)

export const e20 = example(
  '02 §8 E20 UNSET_CONTAINER with an open device (an emulated device)',
  (t) => {
    numberedPages(t, 2)
    linked(t)
    getDevice(t, G7, 'scratch0', D7)
    unsetContainer(t, G7)
    // Emulated groups have no DMA ownership: they stay viable.
    groupStatus(t, G7, 1)
    getDeviceFails(t, G7, 'scratch0', 'EINVAL')
    t.step('VFIO_DEVICE_GET_INFO', {}, ok({ flags: 1, num_regions: 1 }), { slot: D7 })
    mapDma(t, 0x1000n, PAGE)
    scratchSees(t, D7, 0x1000n, 1)
    t.close(0)
    scratchSees(t, D7, 0x1000n, 1)
    t.open('/dev/iommu', { slot: C2 })
    setContainer(t, G7, { container: C2 })
    getDevice(t, G7, 'scratch0', E)
    scratchSees(t, E, 0x1000n, 1)
    t.close(D7)
    t.close(E)
    getDevice(t, G7, 'scratch0', D7)
    scratchCommand(t, D7, 'READ', { iova: 0x1000n, length: 4, status: 2 })
  },
  needs,
)

export const e21 = example(
  '02 §8 E21 Group file closed, device open (an emulated device)',
  (t) => {
    linked(t)
    getDevice(t, G7, 'scratch0', D7)
    t.close(G7)
    openGroup(t, 7, G7)
    groupStatus(t, G7, 1)
    t.open('/dev/vfio/devices/vfio0', { slot: E })
    const bind = (wanted = ok()): void =>
      t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100 }, wanted, { slot: E })
    bind(fails('EBUSY'))
    t.close(G7)
    bind(fails('EINVAL'))
    t.close(D7)
    bind(ok({ out_devid: 2 }))
    t.plain(`open ${G7} /dev/vfio/7 2`, fails('EBUSY').returns)
    openGroup(t, 8, G8)
  },
  needs,
)

export const e22 = example(
  '02 §8 E22 cdev bind (an emulated device)',
  (t) => {
    t.open()
    t.open('/dev/vfio/devices/vfio0', { slot: E })
    const bind = (fields: Record<string, number | bigint>, wanted = ok(), slot = E): void =>
      t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100, ...fields }, wanted, { slot })
    t.step('VFIO_DEVICE_GET_INFO', {}, fails('EINVAL'), { slot: E })
    t.ioctl(0x3bff, UNMAPPED, fails('EINVAL'), E)
    t.ioctl(0x3b75, UNMAPPED, fails('EINVAL'), E)
    t.plain(`pread ${E} ${ARRAY} 4 ${1n << 40n}`, fails('EINVAL').returns)
    t.plain(`pwrite ${E} ${ARRAY} 4 ${1n << 40n}`, fails('EINVAL').returns)
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
    t.open('/dev/null', { slot: D7 })
    bind({ iommufd: 100 + D7 }, fails('EBADFD'))
    bind({ iommufd: 9999 }, fails('EBADF'))
    t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100 }, fails('EFAULT'), {
      slot: E,
      readOnly: true,
    })
    bind({ argsz: 16 }, ok({ out_devid: 1 }))
    bind({}, fails('EINVAL'))
    t.plain(`open ${G7} /dev/vfio/7 2`, fails('EBUSY').returns)
    t.open('/dev/vfio/devices/vfio0', { slot: E2 })
    bind({}, fails('EINVAL'), E2)
    destroy(t, 1, fails('EBUSY'))
    t.close(E)
    destroy(t, 1, fails('ENOENT'))
    bind({}, ok({ out_devid: 1 }), E2)
  },
  needs,
)

export const e24 = example(
  '02 §8 E24 Emulated device through its cdev',
  (t) => {
    numberedPages(t, 2)
    t.open()
    t.open('/dev/vfio/devices/vfio0', { slot: E })
    t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100 }, ok({ out_devid: 1 }), { slot: E })
    const attach = (
      fields: Record<string, number | bigint>,
      wanted = ok(),
      options: { readOnly?: boolean } = {},
    ): void => t.step('VFIO_DEVICE_ATTACH_IOMMUFD_PT', fields, wanted, { slot: E, ...options })
    const detach = (fields: Record<string, number | bigint>, wanted = ok()): void =>
      t.step('VFIO_DEVICE_DETACH_IOMMUFD_PT', fields, wanted, { slot: E })
    allocates(t, 2)
    scratchCommand(t, E, 'READ', { iova: 0x1000n, length: 4, status: 2 })
    attach({ argsz: 12, pt_id: 2 })
    allocates(t, 3)
    attach({ pt_id: 1 }, fails('ENOENT'))
    attach({ pt_id: 99 }, fails('ENOENT'))
    attach({ flags: 1, pt_id: 2, pasid: 1 }, fails('EOPNOTSUPP'))
    attach({ argsz: 12, flags: 1, pt_id: 2 }, fails('EOPNOTSUPP'))
    attach({ argsz: 11, pt_id: 2 }, fails('EINVAL'))
    attach({ flags: 2, pt_id: 2 }, fails('EINVAL'))
    t.step(
      'IOAS_IOVA_RANGES',
      { ioas_id: 2 },
      fails('EMSGSIZE', { num_iovas: 1, out_iova_alignment: PAGE }),
    )
    const map = (iova: bigint, wanted = ok()): void =>
      t.step(
        'IOAS_MAP',
        { flags: (RW << 1) | 1, ioas_id: 2, user_va: B, length: PAGE, iova },
        wanted,
      )
    map(0x1001n, fails('EINVAL'))
    map(0x1000n)
    scratchSees(t, E, 0x1000n, 1)
    destroy(t, 2, fails('EBUSY'))
    scratchRegisterIs(t, E, 'UNMAPS', 0)
    attach({ pt_id: 3 })
    scratchRegisterIs(t, E, 'UNMAPS', 1)
    scratchRegisterIs(t, E, 'UNMAP_IOVA', 0n)
    scratchRegisterIs(t, E, 'UNMAP_LENGTH', MAX)
    scratchCommand(t, E, 'READ', { iova: 0x1000n, length: 4, status: 2 })
    // The same again: nothing happens.
    attach({ pt_id: 3 })
    scratchRegisterIs(t, E, 'UNMAPS', 1)
    vfioIoas(t, GET, 0, fails('ENODEV'))
    vfioIoas(t, SET, 3)
    t.ioctl(CHECK_EXTENSION, 4n, returns(1))
    destroy(t, 2)
    detach({ argsz: 8 })
    detach({})
    detach({ argsz: 7 }, fails('EINVAL'))
    detach({ flags: 2 }, fails('EINVAL'))
    detach({ flags: 1 }, fails('EOPNOTSUPP'))
    // A fault when the answer is stored detaches again.
    attach({ pt_id: 3 }, fails('EFAULT'), { readOnly: true })
    destroy(t, 3)
  },
  needs,
)

export const e27 = example(
  '02 §8 E27 Feature framing (a device without features)',
  (t) => {
    linked(t)
    getDevice(t, G7, 'scratch0', D7)
    const feature = (argsz: number, flags: number, wanted = ok()): void =>
      t.step('VFIO_DEVICE_FEATURE', { argsz, flags }, wanted, { slot: D7 })
    feature(7, 0x40001, fails('EINVAL'))
    feature(8, 0x80001, fails('EINVAL'))
    feature(8, 0x30001, fails('EINVAL'))
    feature(8, 0x40001, fails('ENOTTY'))
    feature(8, 0x4000c, fails('EINVAL'))
    feature(8, 0x40006, fails('ENOTTY'))
    t.ioctl(0x3b75, UNMAPPED, fails('EFAULT'), D7)
    // From a group file BIND is refused, ATTACH and DETACH are the driver's ENOTTY.
    t.step('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 100 }, fails('EINVAL'), { slot: D7 })
    t.ioctl(0x3b77, UNMAPPED, fails('ENOTTY'), D7)
    t.ioctl(0x3b78, UNMAPPED, fails('ENOTTY'), D7)
    t.ioctl(0x3bff, UNMAPPED, fails('ENOTTY'), D7)
  },
  needs,
)

export const e31 = example(
  '02 §8 E31 The compat IOAS is weak (an emulated device)',
  (t) => {
    t.buffer()
    linked(t)
    destroy(t, 1)
    mapDma(t, 0n, PAGE, fails('ENODEV'))
    getDeviceFails(t, G7, 'scratch0', 'ENODEV')
    allocates(t, 1)
    vfioIoas(t, SET, 1)
    getDevice(t, G7, 'scratch0', D7)
    destroy(t, 1, fails('EBUSY'))
  },
  needs,
)

export const pins = example(
  '02 §5.13 Pins of an emulated device, and unmapping under them',
  (t) => {
    numberedPages(t, 16)
    linked(t)
    getDevice(t, G7, 'scratch0', D7)
    mapDma(t, 0x1000000n, 0x10000n)
    scratchCommand(t, D7, 'PIN_WRITE', { iova: 0x1000000n, length: 0x10000 })
    scratchRegisterIs(t, D7, 'PINNED', 16)
    scratchCommand(t, D7, 'PIN_WRITE', { iova: 0x1000000n, length: 0x11000, status: 2 })
    scratchRegisterIs(t, D7, 'PINNED', 16)
    const unmap = (iova: bigint, size: bigint, wanted = ok()): void =>
      t.step('VFIO_IOMMU_UNMAP_DMA', { iova, size }, wanted)
    unmap(0x1000000n, 0x8000n, fails('ENOENT', { size: 0n }))
    scratchRegisterIs(t, D7, 'UNMAPS', 0)
    unmap(0x1000000n, 0x20000n, ok({ size: 0x10000n }))
    scratchRegisterIs(t, D7, 'UNMAPS', 1)
    scratchRegisterIs(t, D7, 'UNMAP_IOVA', 0x1000000n)
    scratchRegisterIs(t, D7, 'UNMAP_LENGTH', 0x10000n)
    scratchRegisterIs(t, D7, 'PINNED', 0)
    // Split mode cannot cut what is pinned.
    t.ioctl(SET_IOMMU, 1n, ok())
    mapDma(t, 0x1000000n, 0x10000n)
    scratchCommand(t, D7, 'PIN_READ', { iova: 0x1001000n, length: 1 })
    scratchRegisterIs(t, D7, 'PINNED', 1)
    unmap(0x1004000n, 0x1000n, fails('EINVAL'))
    scratchCommand(t, D7, 'UNPIN', {})
    unmap(0x1004000n, 0x1000n, ok())
    // Permissions: a mapping for reading only refuses writes and pins for writing.
    t.step('VFIO_IOMMU_MAP_DMA', { flags: 1, vaddr: B, iova: 0x2000000n, size: PAGE }, ok())
    scratchCommand(t, D7, 'WRITE', { iova: 0x2000000n, length: 4, status: 1 })
    scratchCommand(t, D7, 'PIN_WRITE', { iova: 0x2000000n, length: 4, status: 1 })
    scratchCommand(t, D7, 'READ', { iova: 0x2000000n, length: 0, status: 22 })
    scratchCommand(t, D7, 'READ', { iova: MAX, length: 2, status: 75 })
  },
  needs,
)
