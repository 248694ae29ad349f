/** Interrupts of a device (06 §6). */
import { argsz, fd32, flags32, flexible, tailBytes, u32 } from '../fields.ts'
import { vfioStructIoctl } from '../ioctl.ts'
import { type Struct, struct } from '../layout.ts'

export const VFIO_IRQ_INFO_FLAGS = {
  VFIO_IRQ_INFO_EVENTFD: 1 << 0,
  VFIO_IRQ_INFO_MASKABLE: 1 << 1,
  VFIO_IRQ_INFO_AUTOMASKED: 1 << 2,
  VFIO_IRQ_INFO_NORESIZE: 1 << 3,
} as const

export const VFIO_PCI_IRQS = {
  VFIO_PCI_INTX_IRQ_INDEX: 0,
  VFIO_PCI_MSI_IRQ_INDEX: 1,
  VFIO_PCI_MSIX_IRQ_INDEX: 2,
  VFIO_PCI_ERR_IRQ_INDEX: 3,
  VFIO_PCI_REQ_IRQ_INDEX: 4,
} as const

export const VFIO_PCI_NUM_IRQS = 5

export const vfio_irq_info = struct('vfio_irq_info', {
  argsz: argsz(),
  flags: flags32(VFIO_IRQ_INFO_FLAGS, 'out', 'How it can be used.'),
  index: u32('in', 'Which kind of interrupt.'),
  count: u32('out', 'Vectors; 0 if the device does not have it.'),
})

export const VFIO_DEVICE_GET_IRQ_INFO = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_GET_IRQ_INFO',
  9,
  vfio_irq_info,
  { meaning: 'Describes one kind of interrupt.', writeBack: 'whole' },
)

export const VFIO_IRQ_SET_FLAGS = {
  VFIO_IRQ_SET_DATA_NONE: 1 << 0,
  VFIO_IRQ_SET_DATA_BOOL: 1 << 1,
  VFIO_IRQ_SET_DATA_EVENTFD: 1 << 2,
  VFIO_IRQ_SET_ACTION_MASK: 1 << 3,
  VFIO_IRQ_SET_ACTION_UNMASK: 1 << 4,
  VFIO_IRQ_SET_ACTION_TRIGGER: 1 << 5,
} as const

export const VFIO_IRQ_SET_DATA_TYPE_MASK =
  VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_DATA_NONE |
  VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_DATA_BOOL |
  VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_DATA_EVENTFD

export const VFIO_IRQ_SET_ACTION_TYPE_MASK =
  VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_ACTION_MASK |
  VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_ACTION_UNMASK |
  VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_ACTION_TRIGGER

const irqSetHead = {
  argsz: argsz(),
  flags: flags32(VFIO_IRQ_SET_FLAGS, 'in', 'What the data are, and what to do.'),
  index: u32('in', 'Which kind of interrupt.'),
  start: u32('in', 'First vector.'),
  count: u32('in', 'Number of vectors; 0 disables the whole kind.'),
}

export const vfio_irq_set = struct('vfio_irq_set', {
  ...irqSetHead,
  data: tailBytes('in', 'One byte, one descriptor or nothing for each vector.'),
})

/** `vfio_irq_set` whose data are descriptors. */
const irqSetEventfds = struct('vfio_irq_set', {
  ...irqSetHead,
  data: flexible(fd32('in', 'An eventfd for each vector, or -1.')),
})

const irqSetView = (bytes: Uint8Array): Struct | undefined =>
  (vfio_irq_set.decode(bytes).flags & VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_DATA_EVENTFD) !== 0
    ? irqSetEventfds
    : undefined

export const VFIO_DEVICE_SET_IRQS = vfioStructIoctl(
  'device',
  'VFIO_DEVICE_SET_IRQS',
  10,
  vfio_irq_set,
  {
    meaning: 'Sets up, masks, unmasks or triggers interrupts.',
    writeBack: 'none',
    view: irqSetView,
  },
)
