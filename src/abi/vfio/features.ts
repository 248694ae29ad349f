/** VFIO_DEVICE_FEATURE: one request, and a structure of data for each feature (02 §5.10, 06 §9). */
import {
  argsz,
  array,
  enum32,
  type Field,
  fd32,
  flags32,
  flags64,
  flexible,
  hex8,
  hex32,
  hex64,
  iova64,
  len64,
  offset64,
  reserved32,
  tailBytes,
  u32,
  va64,
} from '../fields.ts'
import { vfioStructIoctl } from '../ioctl.ts'
import { nested, type Struct, struct } from '../layout.ts'

export const VFIO_DEVICE_FEATURES = {
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN: 0,
  VFIO_DEVICE_FEATURE_MIGRATION: 1,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: 2,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY: 3,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: 4,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT: 5,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START: 6,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP: 7,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: 8,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE: 9,
  VFIO_DEVICE_FEATURE_BUS_MASTER: 10,
  VFIO_DEVICE_FEATURE_DMA_BUF: 11,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: 12,
} as const

/** The lower 16 bits of the flags are the feature. */
export const VFIO_DEVICE_FEATURE_MASK = 0xffff

export const VFIO_DEVICE_FEATURE_FLAGS = {
  VFIO_DEVICE_FEATURE_GET: 1 << 16,
  VFIO_DEVICE_FEATURE_SET: 1 << 17,
  VFIO_DEVICE_FEATURE_PROBE: 1 << 18,
} as const

const featureName = (index: number): string =>
  Object.entries(VFIO_DEVICE_FEATURES).find(([, value]) => value === index)?.[0] ?? String(index)

const flags = (): Field<number, 'in'> => {
  const operations = flags32(VFIO_DEVICE_FEATURE_FLAGS, 'in', 'The feature, and get, set or probe.')
  return {
    ...operations,
    format: (value) =>
      `${featureName(value & VFIO_DEVICE_FEATURE_MASK)}|` +
      operations.format((value & ~VFIO_DEVICE_FEATURE_MASK) >>> 0),
  }
}

export const vfio_device_feature = struct('vfio_device_feature', {
  argsz: argsz(),
  flags: flags(),
  data: tailBytes('inout', "The feature's data."),
})

/** Feature PCI_VF_TOKEN: the bytes themselves. */
const vfToken = struct('pci_vf_token', { uuid: array(hex8('in', 'The token.'), 16) })

export const VFIO_MIGRATION_FLAGS = {
  VFIO_MIGRATION_STOP_COPY: 1 << 0,
  VFIO_MIGRATION_P2P: 1 << 1,
  VFIO_MIGRATION_PRE_COPY: 1 << 2,
} as const

export const vfio_device_feature_migration = struct('vfio_device_feature_migration', {
  flags: flags64(VFIO_MIGRATION_FLAGS, 'out', 'What the device can do in migration.'),
})

export const VFIO_DEVICE_MIG_STATE = {
  VFIO_DEVICE_STATE_ERROR: 0,
  VFIO_DEVICE_STATE_STOP: 1,
  VFIO_DEVICE_STATE_RUNNING: 2,
  VFIO_DEVICE_STATE_STOP_COPY: 3,
  VFIO_DEVICE_STATE_RESUMING: 4,
  VFIO_DEVICE_STATE_RUNNING_P2P: 5,
  VFIO_DEVICE_STATE_PRE_COPY: 6,
  VFIO_DEVICE_STATE_PRE_COPY_P2P: 7,
} as const

export const vfio_device_feature_mig_state = struct('vfio_device_feature_mig_state', {
  device_state: enum32(
    VFIO_DEVICE_MIG_STATE,
    'inout',
    'The state to go to, or the state it is in.',
  ),
  data_fd: fd32('out', "Descriptor of the device's data, or -1."),
})

export const vfio_device_low_power_entry_with_wakeup = struct(
  'vfio_device_low_power_entry_with_wakeup',
  {
    wakeup_eventfd: fd32('in', 'Signalled when the device wakes up.'),
    reserved: reserved32(),
  },
)

export const vfio_device_feature_dma_logging_control = struct(
  'vfio_device_feature_dma_logging_control',
  {
    page_size: hex64('inout', 'Bytes of a page: wanted, and in effect.'),
    num_ranges: u32('in', 'Ranges to log.'),
    __reserved: reserved32('Not looked at.'),
    ranges: va64('in', 'Array of vfio_device_feature_dma_logging_range.'),
  },
)

export const vfio_device_feature_dma_logging_range = struct(
  'vfio_device_feature_dma_logging_range',
  {
    iova: iova64('in', 'First IOVA.'),
    length: len64('in', 'Bytes.'),
  },
)

export const vfio_device_feature_dma_logging_report = struct(
  'vfio_device_feature_dma_logging_report',
  {
    iova: iova64('in', 'The IOVA of bit 0.'),
    length: len64('in', 'Bytes of the range.'),
    page_size: hex64('in', 'Bytes that one bit stands for.'),
    bitmap: va64('in', 'The bitmap; bits are set in it, never cleared.'),
  },
)

export const vfio_device_feature_mig_data_size = struct('vfio_device_feature_mig_data_size', {
  stop_copy_length: len64('out', 'Estimate of the bytes to transfer.'),
})

export const VFIO_DEVICE_FEATURE_BUS_MASTER_OPS = {
  VFIO_DEVICE_FEATURE_CLEAR_MASTER: 0,
  VFIO_DEVICE_FEATURE_SET_MASTER: 1,
} as const

export const vfio_device_feature_bus_master = struct('vfio_device_feature_bus_master', {
  op: enum32(VFIO_DEVICE_FEATURE_BUS_MASTER_OPS, 'in', 'Whether the device may do DMA.'),
})

export const vfio_region_dma_range = struct('vfio_region_dma_range', {
  offset: offset64('in', 'First byte within the region.'),
  length: len64('in', 'Bytes.'),
})

export const vfio_device_feature_dma_buf = struct('vfio_device_feature_dma_buf', {
  region_index: u32('in', 'Which region.'),
  open_flags: hex32('in', 'O_ flags of the new descriptor.'),
  flags: flags32({}, 'in', 'None are defined.'),
  nr_ranges: u32('in', 'Number of ranges.'),
  dma_ranges: flexible(nested(vfio_region_dma_range, 'in', 'The parts that the dma-buf offers.')),
})

export interface Feature {
  readonly name: keyof typeof VFIO_DEVICE_FEATURES
  readonly index: number
  /** Absent for features without data. */
  readonly data?: Struct
  readonly get: boolean
  readonly set: boolean
}

const feature = (
  name: keyof typeof VFIO_DEVICE_FEATURES,
  operations: 'get' | 'set' | 'get and set',
  data?: Struct,
): Feature => ({
  name,
  index: VFIO_DEVICE_FEATURES[name],
  ...(data === undefined ? {} : { data }),
  get: operations !== 'set',
  set: operations !== 'get',
})

/** By index (02 §5.10). */
export const features: readonly Feature[] = [
  feature('VFIO_DEVICE_FEATURE_PCI_VF_TOKEN', 'set', vfToken),
  feature('VFIO_DEVICE_FEATURE_MIGRATION', 'get', vfio_device_feature_migration),
  feature('VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE', 'get and set', vfio_device_feature_mig_state),
  feature('VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY', 'set'),
  feature(
    'VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP',
    'set',
    vfio_device_low_power_entry_with_wakeup,
  ),
  feature('VFIO_DEVICE_FEATURE_LOW_POWER_EXIT', 'set'),
  feature('VFIO_DEVICE_FEATURE_DMA_LOGGING_START', 'set', vfio_device_feature_dma_logging_control),
  feature('VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP', 'set'),
  feature('VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT', 'get', vfio_device_feature_dma_logging_report),
  feature('VFIO_DEVICE_FEATURE_MIG_DATA_SIZE', 'get', vfio_device_feature_mig_data_size),
  feature('VFIO_DEVICE_FEATURE_BUS_MASTER', 'set', vfio_device_feature_bus_master),
  feature('VFIO_DEVICE_FEATURE_DMA_BUF', 'get', vfio_device_feature_dma_buf),
  feature('VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2', 'set'),
]

/** The request and its feature's data as one structure, for printing. */
const views = features.map(({ data }) =>
  data === undefined
    ? undefined
    : struct('vfio_device_feature', {
        argsz: argsz(),
        flags: flags(),
        data: nested(data, 'inout', "The feature's data."),
      }),
)

export const VFIO_DEVICE_FEATURE = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_FEATURE',
  17,
  vfio_device_feature,
  {
    meaning: 'Reads, sets or probes a feature of the device.',
    writeBack: { field: 'data' },
    view: (bytes) => {
      const index = vfio_device_feature.decode(bytes).flags & VFIO_DEVICE_FEATURE_MASK
      return views[index]
    },
  },
)
