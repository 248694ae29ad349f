import { expect, test } from 'vitest'
import { formatArgument } from '../../src/abi/format.ts'
import { encode } from '../../src/abi/layout.ts'
import {
  containerIoctls,
  deviceIoctls,
  groupIoctls,
  ioctlNamed,
  ioctlOn,
  iommufdCommands,
  migrationIoctls,
  testConstants,
} from '../../src/abi/tables.ts'
import { TEST_DIRTY, testOperations } from '../../src/abi/test-cmd.ts'
import { VFIO_DEVICE_FEATURE, vfio_device_feature_mig_state } from '../../src/abi/vfio/features.ts'
import { VFIO_DEVICE_SET_IRQS, vfio_irq_set } from '../../src/abi/vfio/irq.ts'

/** 01 §4.3: number, known size, minimum size. */
const commandTable: readonly [string, number, number, number][] = [
  ['IOMMU_DESTROY', 0x3b80, 8, 8],
  ['IOMMU_IOAS_ALLOC', 0x3b81, 12, 12],
  ['IOMMU_IOAS_ALLOW_IOVAS', 0x3b82, 24, 24],
  ['IOMMU_IOAS_COPY', 0x3b83, 40, 40],
  ['IOMMU_IOAS_IOVA_RANGES', 0x3b84, 32, 32],
  ['IOMMU_IOAS_MAP', 0x3b85, 40, 40],
  ['IOMMU_IOAS_UNMAP', 0x3b86, 24, 24],
  ['IOMMU_OPTION', 0x3b87, 24, 24],
  ['IOMMU_VFIO_IOAS', 0x3b88, 12, 12],
  ['IOMMU_HWPT_ALLOC', 0x3b89, 48, 24],
  ['IOMMU_GET_HW_INFO', 0x3b8a, 40, 32],
  ['IOMMU_HWPT_SET_DIRTY_TRACKING', 0x3b8b, 16, 16],
  ['IOMMU_HWPT_GET_DIRTY_BITMAP', 0x3b8c, 48, 48],
  ['IOMMU_HWPT_INVALIDATE', 0x3b8d, 32, 32],
  ['IOMMU_FAULT_QUEUE_ALLOC', 0x3b8e, 16, 16],
  ['IOMMU_IOAS_MAP_FILE', 0x3b8f, 40, 40],
  ['IOMMU_VIOMMU_ALLOC', 0x3b90, 40, 24],
  ['IOMMU_VDEVICE_ALLOC', 0x3b91, 24, 24],
  ['IOMMU_IOAS_CHANGE_PROCESS', 0x3b92, 8, 8],
  ['IOMMU_VEVENTQ_ALLOC', 0x3b93, 32, 28],
  ['IOMMU_HW_QUEUE_ALLOC', 0x3b94, 40, 40],
  ['IOMMU_TEST_CMD', 0x3ba0, 72, 68],
]

test('the iommufd commands are those of the specification, with their sizes', () => {
  expect(
    iommufdCommands.map((command) => [
      command.name,
      command.request,
      command.struct?.size,
      command.minimum,
    ]),
  ).toEqual(commandTable)
})

test('no file knows two requests of one number', () => {
  for (const table of [
    iommufdCommands,
    containerIoctls,
    groupIoctls,
    deviceIoctls,
    migrationIoctls,
  ])
    expect(new Set(table.map((ioctl) => ioctl.request)).size).toBe(table.length)
})

test('the same number is another request on another file', () => {
  expect(ioctlOn('iommufd', 0x3b85)?.name).toBe('IOMMU_IOAS_MAP')
  expect(ioctlOn('container', 0x3b70)?.name).toBe('VFIO_IOMMU_GET_INFO')
  expect(ioctlOn('iommufd', 0x3b70)?.name).toBe('VFIO_IOMMU_GET_INFO')
  expect(ioctlOn('device', 0x3b70)?.name).toBe('VFIO_DEVICE_GET_PCI_HOT_RESET_INFO')
  expect(ioctlOn('device', 0x3b79)).toBeUndefined()
  expect(ioctlOn('migration', 0x3b79)?.name).toBe('VFIO_MIG_GET_PRECOPY_INFO')
  expect(ioctlOn('iommufd', 0x3b95)).toBeUndefined()
})

test('every test operation is a view of the same 72 bytes (05 §A.1)', () => {
  expect(testOperations.map((operation) => operation.op)).toEqual(
    Array.from({ length: 23 }, (_, i) => i + 1),
  )
  for (const { struct } of testOperations) {
    expect(struct.size).toBe(72)
    expect(struct.place('id').offset).toBe(8)
    expect(struct.place('last').offset).toBe(64)
  }
  // 05 §A.1.2.
  expect(TEST_DIRTY.struct.place('out_nr_dirty').offset).toBe(56)
  expect(testConstants.get('IOMMU_TEST_DEV_CACHE_DEFAULT')).toBe(0x00ba_ddad)
})

test('arguments read by their operation, their feature, their kind of data', () => {
  const dirty = encode(TEST_DIRTY.struct, { size: 72, op: 13, page_size: 2048n })
  const testCommand = ioctlNamed('IOMMU_TEST_CMD')
  expect(testCommand && formatArgument(testCommand, 0n, dirty, { show: 'in' })).toBe(
    '{op=IOMMU_TEST_OP_DIRTY, id=0, flags=0, iova=0x0, length=0x0, page_size=0x800, uptr=0x0}',
  )

  const state = new Uint8Array(16)
  new DataView(state.buffer).setUint32(0, 16, true)
  new DataView(state.buffer).setUint32(4, (1 << 17) | 2, true)
  state.set(encode(vfio_device_feature_mig_state, { device_state: 2 }), 8)
  expect(formatArgument(VFIO_DEVICE_FEATURE, 0n, state)).toBe(
    '{argsz=16, flags=VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE|VFIO_DEVICE_FEATURE_SET, ' +
      'data={device_state=VFIO_DEVICE_STATE_RUNNING, data_fd=0}}',
  )

  const irqs = encode(vfio_irq_set, {
    argsz: 24,
    flags: 0x24,
    index: 2,
    count: 1,
    data: new Uint8Array([0xff, 0xff, 0xff, 0xff]),
  })
  expect(formatArgument(VFIO_DEVICE_SET_IRQS, 0n, irqs)).toBe(
    '{argsz=24, flags=VFIO_IRQ_SET_DATA_EVENTFD|VFIO_IRQ_SET_ACTION_TRIGGER, ' +
      'index=2, start=0, count=1, data=[-1]}',
  )
})

test('arguments that are no structure', () => {
  const show = (name: string, argument: bigint, bytes = new Uint8Array()): string | undefined => {
    const ioctl = ioctlNamed(name)
    return ioctl && formatArgument(ioctl, argument, bytes)
  }
  expect(show('VFIO_CHECK_EXTENSION', 3n)).toBe('VFIO_TYPE1v2_IOMMU')
  expect(show('VFIO_CHECK_EXTENSION', 99n)).toBe('99')
  expect(show('VFIO_CHECK_EXTENSION', 0x1_0000_0003n)).toBe('0x100000003')
  expect(show('VFIO_GET_API_VERSION', 0n)).toBe('')
  expect(show('VFIO_GROUP_SET_CONTAINER', 0x7ff0n, new Uint8Array([5, 0, 0, 0]))).toBe('[5]')
  expect(show('VFIO_GROUP_GET_DEVICE_FD', 0x7ff0n, new TextEncoder().encode('0000:01:00.0'))).toBe(
    '"0000:01:00.0"',
  )
})
