/** The five interrupt indices of a PCI device, and which of INTx, MSI and MSI-X is active (06 §6). */
import type { UserVa } from '../../abi/brands.ts'
import {
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_IRQ_INFO_FLAGS,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_FLAGS,
  VFIO_PCI_IRQS,
  VFIO_PCI_NUM_IRQS,
} from '../../abi/vfio/irq.ts'
import type { Machine } from '../../engine/machine.ts'
import type { Call } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { readVfioStruct, writeVfioStruct } from '../../engine/vfio-struct.ts'
import { readIrqSet } from '../irq-set.ts'
import { CapabilityId, type HardwareConfig } from './hardware-config.ts'
import { Intx } from './intx.ts'
import { MessageInterrupts, OtherInterruptActive } from './message-interrupts.ts'
import type { PciModel, PciServices } from './pci-model.ts'
import { SingleTrigger } from './single-trigger.ts'

export const IrqInfoNoSuchIndex = reasonKind<{ index: number }>({
  code: 'irq-info-no-such-index',
  errno: 'EINVAL',
  cite: '06 §6.1',
  say: ({ index }) =>
    index === ERR
      ? 'the function has no PCI Express capability, hence no error interrupt'
      : `interrupt index ${index} does not exist: there are ${VFIO_PCI_NUM_IRQS}`,
  advice:
    'Ask for indices below num_irqs of VFIO_DEVICE_GET_INFO, and take EINVAL for an interrupt that the function lacks.',
})

export const IrqActionUnknown = reasonKind<{ index: number; action: number }>({
  code: 'irq-action-unknown',
  errno: 'ENOTTY',
  cite: '06 §6.2 step 7',
  say: ({ index, action }) =>
    `interrupt index ${index} has no action 0x${action.toString(16)}: it must be exactly one that the index has`,
  advice:
    'Set exactly one of VFIO_IRQ_SET_ACTION_MASK, UNMASK and TRIGGER; MASK and UNMASK are for INTx.',
})

const {
  VFIO_PCI_INTX_IRQ_INDEX: INTX,
  VFIO_PCI_MSI_IRQ_INDEX: MSI,
  VFIO_PCI_MSIX_IRQ_INDEX: MSIX,
  VFIO_PCI_ERR_IRQ_INDEX: ERR,
} = VFIO_PCI_IRQS
const {
  VFIO_IRQ_SET_ACTION_MASK: MASK,
  VFIO_IRQ_SET_ACTION_UNMASK: UNMASK,
  VFIO_IRQ_SET_ACTION_TRIGGER: TRIGGER,
} = VFIO_IRQ_SET_FLAGS
const {
  VFIO_IRQ_INFO_EVENTFD: EVENTFD,
  VFIO_IRQ_INFO_MASKABLE: MASKABLE,
  VFIO_IRQ_INFO_AUTOMASKED: AUTOMASKED,
  VFIO_IRQ_INFO_NORESIZE: NORESIZE,
} = VFIO_IRQ_INFO_FLAGS

export interface InterruptOptions {
  /** Single MSI-X vectors can be allocated later, as on present x86 hosts. */
  readonly dynamicMsix: boolean
}

export class Interrupts {
  readonly #machine: Machine
  readonly #model: PciModel
  readonly #hw: HardwareConfig
  readonly #dynamicMsix: boolean
  readonly intx = new Intx()
  readonly msi: MessageInterrupts
  readonly msix: MessageInterrupts
  readonly error = new SingleTrigger(VFIO_PCI_IRQS.VFIO_PCI_ERR_IRQ_INDEX)
  readonly request = new SingleTrigger(VFIO_PCI_IRQS.VFIO_PCI_REQ_IRQ_INDEX)

  constructor(machine: Machine, model: PciModel, hw: HardwareConfig, options: InterruptOptions) {
    this.#machine = machine
    this.#model = model
    this.#hw = hw
    this.#dynamicMsix = options.dynamicMsix
    this.msi = new MessageInterrupts('msi', { dynamic: false })
    this.msix = new MessageInterrupts('msix', { dynamic: options.dynamicMsix })
  }

  get active(): PciServices['interruptKind'] {
    if (this.intx.active) return 'intx'
    if (this.msi.active) return 'msi'
    return this.msix.active ? 'msix' : 'none'
  }

  /** Interrupts of an index; 0 where the function has none. */
  count(index: number): number {
    switch (index) {
      case INTX:
        return this.#model.identity.interruptPin
      case MSI: {
        const at = this.#hw.capability(CapabilityId.MSI)
        return at === undefined ? 0 : 1 << (((this.#hw.bytes[at + 2] ?? 0) >> 1) & 7)
      }
      case MSIX:
        return this.#model.msix?.vectors ?? 0
      case ERR:
        return this.#hw.capability(CapabilityId.EXPRESS) === undefined ? 0 : 1
      default:
        return 1
    }
  }

  getInfo(call: Call, argument: UserVa): Result<number> {
    const declared = VFIO_DEVICE_GET_IRQ_INFO
    const args = readVfioStruct(this.#machine, call, argument, declared)
    if (args instanceof Refusal) return args
    const { argsz, index } = args
    const count = index < VFIO_PCI_NUM_IRQS ? this.count(index) : 0
    if (index >= VFIO_PCI_NUM_IRQS || (index === ERR && count === 0))
      return refuse(IrqInfoNoSuchIndex, { index })
    const answer = { argsz, flags: this.#flags(index, count), index, count }
    return writeVfioStruct(this.#machine, call, argument, declared, answer, declared.minimum) ?? 0
  }

  #flags(index: number, count: number): number {
    if (index === INTX) return EVENTFD | MASKABLE | AUTOMASKED
    const dynamic = index === MSIX && count > 0 && this.#dynamicMsix
    return dynamic ? EVENTFD : EVENTFD | NORESIZE
  }

  /** VFIO_DEVICE_SET_IRQS. */
  set(call: Call, argument: UserVa): Result<number> {
    const set = readIrqSet(call, argument, VFIO_PCI_NUM_IRQS, (index) => this.count(index))
    if (set instanceof Refusal) return set
    const { index } = set
    const action = set.action & VFIO_IRQ_SET_ACTION_TYPE_MASK
    const known = index === INTX ? [MASK, UNMASK, TRIGGER] : [TRIGGER]
    if (!known.some((one) => one === action)) return refuse(IrqActionUnknown, { index, action })
    if (index === ERR) return this.error.set(call, set)
    if (index > ERR) return this.request.set(call, set)
    const kind = index === INTX ? this.intx : index === MSI ? this.msi : this.msix
    // Masking what is not active is refused as such, whatever else is active (06 §6.3).
    if (action === TRIGGER && this.active !== 'none' && !kind.active)
      return refuse(OtherInterruptActive, { wanted: nameOf(index), active: this.active })
    const changed = (): void => this.#reflect()
    this.#model.interruptsChanging?.()
    const result = kind.set(call, set, changed, changed)
    // Even a refused one may have taken triggers away (06 §6.4).
    this.#model.interruptsChanged?.()
    return result
  }

  /** The enable bits of the function itself follow (06 §5.6, §5.7). */
  #reflect(): void {
    const { bytes } = this.#hw
    const msix = this.#hw.capability(CapabilityId.MSIX)
    if (msix !== undefined) {
      const high = bytes[msix + 3] ?? 0
      bytes[msix + 3] = this.msix.active ? high | 0x80 : high & ~0x80
    }
    const msi = this.#hw.capability(CapabilityId.MSI)
    if (msi !== undefined) {
      const low = bytes[msi + 2] ?? 0
      bytes[msi + 2] = this.msi.active ? low | 1 : low & ~1
    }
  }

  /** The device sends a message. A user who clears the MSI enable bit silences it. */
  message(vector: number): void {
    if (this.msix.active) this.msix.raise(vector)
    const at = this.#hw.capability(CapabilityId.MSI)
    if (this.msi.active && at !== undefined && ((this.#hw.bytes[at + 2] ?? 0) & 1) !== 0)
      this.msi.raise(vector)
  }

  /** Last close: everything is dropped. */
  close(): void {
    this.#model.interruptsChanging?.()
    this.intx.reset()
    this.msi.disable()
    this.msix.disable()
    this.msix.forgetPending()
    this.msi.vectorsEver = 0
    this.error.drop()
    this.request.drop()
    this.#reflect()
    this.#model.interruptsChanged?.()
  }
}

const nameOf = (index: number): string =>
  index === INTX ? 'INTx' : index === MSI ? 'MSI' : 'MSI-X'
