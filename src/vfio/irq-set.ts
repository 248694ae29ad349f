/** VFIO_DEVICE_SET_IRQS: the checks that all drivers share (02 §5.9), before the driver's own. */
import type { UserVa } from '../abi/brands.ts'
import {
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_DATA_TYPE_MASK,
  VFIO_IRQ_SET_FLAGS,
} from '../abi/vfio/irq.ts'
import type { Call } from '../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../engine/reason.ts'
import { addressAt, readExactly } from '../engine/vfio-struct.ts'

const HEADER = 20
const ALL_FLAGS = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK

/** A request that passed the shared checks. */
export interface IrqSet {
  readonly index: number
  readonly start: number
  readonly count: number
  /** VFIO_IRQ_SET_ACTION_* bits; whether they are one that the index has is the driver's to judge. */
  readonly action: number
  readonly data: 'none' | 'bool' | 'eventfd'
  /** `count` values: 0 or not for bool, descriptors for eventfd; empty for none. */
  readonly values: readonly number[]
}

const DECLARED = VFIO_DEVICE_SET_IRQS.name

export const IrqSetTooShort = reasonKind<{ argsz: number }>({
  code: 'irq-set-too-short',
  errno: 'EINVAL',
  cite: '02 §5.9',
  say: ({ argsz }) => `argsz ${argsz} is below the ${HEADER} bytes of the header`,
  advice: 'Set argsz to the size of the header and the data.',
})
export const IrqSetNoSuchIndex = reasonKind<{ index: number; indexes: number }>({
  code: 'irq-set-no-such-index',
  errno: 'EINVAL',
  cite: '02 §5.9',
  say: ({ index, indexes }) => `interrupt index ${index} does not exist: the device has ${indexes}`,
  advice: 'Ask VFIO_DEVICE_GET_INFO for num_irqs.',
})
export const IrqSetCountWraps = reasonKind<{ start: number; count: number }>({
  code: 'irq-set-count-wraps',
  errno: 'EINVAL',
  cite: '02 §5.9',
  say: ({ start, count }) => `start ${start} and count ${count} pass the end of 32 bits`,
  advice: 'Set start and count to interrupts that VFIO_DEVICE_GET_IRQ_INFO reports.',
})
export const IrqSetUnknownFlags = reasonKind<{ flags: number }>({
  code: 'irq-set-unknown-flags',
  errno: 'EINVAL',
  cite: '02 §5.9',
  say: ({ flags }) => `flags 0x${flags.toString(16)} has bits outside 0x3f`,
  advice: 'Use one of VFIO_IRQ_SET_DATA_* and one of VFIO_IRQ_SET_ACTION_* only.',
})
export const IrqSetOutOfRange = reasonKind<{
  index: number
  start: number
  count: number
  interrupts: number
}>({
  code: 'irq-set-out-of-range',
  errno: 'EINVAL',
  cite: '02 §5.9',
  say: ({ index, start, count, interrupts }) =>
    `interrupts ${start} to ${start + count} are asked for, but index ${index} has ${interrupts}`,
  advice: 'Ask VFIO_DEVICE_GET_IRQ_INFO for the number of interrupts of the index.',
})
export const IrqSetNotOneDataType = reasonKind<{ flags: number }>({
  code: 'irq-set-not-one-data-type',
  errno: 'EINVAL',
  cite: '02 §5.9',
  say: ({ flags }) =>
    `flags 0x${flags.toString(16)} must have exactly one of DATA_NONE, DATA_BOOL, DATA_EVENTFD`,
  advice: 'Set exactly one of VFIO_IRQ_SET_DATA_NONE, DATA_BOOL and DATA_EVENTFD.',
})
export const IrqSetDataTooShort = reasonKind<{ argsz: number; needed: number }>({
  code: 'irq-set-data-too-short',
  errno: 'EINVAL',
  cite: '02 §5.9',
  say: ({ argsz, needed }) => `argsz ${argsz} leaves no room for ${needed} bytes of data`,
  advice:
    'Set argsz to the size of the header plus one element for each interrupt: 1 byte for DATA_BOOL, 4 for DATA_EVENTFD.',
})

/**
 * Reads and checks a request. `interrupts(index)` is the number of interrupts of an index below
 * `indexes`.
 */
export const readIrqSet = (
  call: Call,
  argument: UserVa,
  indexes: number,
  interrupts: (index: number) => number,
): Result<IrqSet> => {
  const header = readExactly(call, argument, HEADER, DECLARED)
  if (header instanceof Refusal) return header
  const view = new DataView(header.buffer, header.byteOffset, HEADER)
  const [argsz, flags, index, start, count] = [0, 4, 8, 12, 16].map((offset) =>
    view.getUint32(offset, true),
  ) as [number, number, number, number, number]

  if (argsz < HEADER) return refuse(IrqSetTooShort, { argsz })
  if (index >= indexes) return refuse(IrqSetNoSuchIndex, { index, indexes })
  if (count >= 0xffff_ffff - start) return refuse(IrqSetCountWraps, { start, count })
  if ((flags & ~ALL_FLAGS) !== 0) return refuse(IrqSetUnknownFlags, { flags })
  const max = interrupts(index)
  if (start >= max || start + count > max)
    return refuse(IrqSetOutOfRange, { index, start, count, interrupts: max })

  const action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK
  const common = { index, start, count, action }
  switch (flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
    case VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_DATA_NONE:
      return { ...common, data: 'none', values: [] }
    case VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_DATA_BOOL:
      return readData(call, argument, { ...common, data: 'bool' }, argsz, 1)
    case VFIO_IRQ_SET_FLAGS.VFIO_IRQ_SET_DATA_EVENTFD:
      return readData(call, argument, { ...common, data: 'eventfd' }, argsz, 4)
    default:
      return refuse(IrqSetNotOneDataType, { flags })
  }
}

const readData = (
  call: Call,
  argument: UserVa,
  set: Omit<IrqSet, 'values'>,
  argsz: number,
  width: 1 | 4,
): Result<IrqSet> => {
  const needed = set.count * width
  if (argsz - HEADER < needed) return refuse(IrqSetDataTooShort, { argsz, needed })
  const bytes = readExactly(call, addressAt(argument, HEADER), needed, DECLARED)
  if (bytes instanceof Refusal) return bytes
  const view = new DataView(bytes.buffer, bytes.byteOffset, needed)
  const values = Array.from({ length: set.count }, (_, i) =>
    width === 1 ? view.getUint8(i) : view.getInt32(i * 4, true),
  )
  return { ...set, values }
}
