/** INTx: a level-triggered line behind an eventfd, masked each time it fires (06 §6.3). */
import { VFIO_IRQ_SET_ACTION_TYPE_MASK, VFIO_IRQ_SET_FLAGS } from '../../abi/vfio/irq.ts'
import type { Call, HeldEventfd } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import type { IrqSet } from '../irq-set.ts'
import { holdEventfd } from './eventfd.ts'
import { InterruptNotActive } from './message-interrupts.ts'

export const IntxOneInterrupt = reasonKind<{ start: number; count: number }>({
  code: 'intx-one-interrupt',
  errno: 'EINVAL',
  cite: '06 §6.3',
  say: ({ start, count }) =>
    `INTx is one interrupt: start ${start} and count ${count} are not 0 and 1`,
  advice: 'Set start to 0 and count to 1.',
})

export const IntxMaskByEventfd = reasonKind({
  code: 'intx-mask-by-eventfd',
  errno: 'ENOTTY',
  cite: '06 §6.3',
  say: () => 'INTx cannot be masked by an eventfd, only unmasked',
  advice: 'Mask with DATA_NONE or DATA_BOOL.',
})

export const IntxUnmaskInstalled = reasonKind({
  code: 'intx-unmask-installed',
  errno: 'EBUSY',
  cite: '06 §6.3',
  say: () => 'an unmask eventfd is installed already',
  advice: 'Remove it first, with -1.',
})

const { VFIO_IRQ_SET_ACTION_MASK: MASK, VFIO_IRQ_SET_ACTION_UNMASK: UNMASK } = VFIO_IRQ_SET_FLAGS

export class Intx {
  active = false
  #line = false
  #masked = false
  /** INTx disable of the virtual COMMAND. */
  #disabled = false
  #trigger: HeldEventfd | undefined
  #unmask: { readonly eventfd: HeldEventfd; readonly stop: () => void } | undefined

  set(call: Call, set: IrqSet, activate: () => void, deactivate: () => void): Result<number> {
    const action = set.action & VFIO_IRQ_SET_ACTION_TYPE_MASK
    if (action === MASK || action === UNMASK) return this.#setMask(call, set, action === UNMASK)
    if (this.active && set.data === 'none' && set.count === 0) {
      this.disable()
      deactivate()
      return 0
    }
    const refused = this.#onlyOne(set)
    if (refused !== undefined) return refused
    if (set.data === 'eventfd') return this.#setTrigger(call, set.values[0] ?? -1, activate)
    if (!this.active) return refuse(InterruptNotActive, { index: 0 })
    if ((set.data === 'none' || set.values[0] !== 0) && !this.#disabled) this.#trigger?.signal()
    return 0
  }

  #onlyOne({ start, count }: IrqSet): Refusal | undefined {
    return start === 0 && count === 1 ? undefined : refuse(IntxOneInterrupt, { start, count })
  }

  #setTrigger(call: Call, descriptor: number, activate: () => void): Result<number> {
    let trigger: HeldEventfd | undefined
    if (descriptor >= 0) {
      const held = holdEventfd(call, descriptor)
      if (held instanceof Refusal) return held
      trigger = held
    }
    this.#trigger?.close()
    this.#trigger = trigger
    if (this.active) return 0
    this.active = true
    this.#masked = this.#disabled
    activate()
    this.#fireIfAsserted()
    return 0
  }

  #setMask(call: Call, set: IrqSet, unmask: boolean): Result<number> {
    if (!this.active) return refuse(InterruptNotActive, { index: 0 })
    const refused = this.#onlyOne(set)
    if (refused !== undefined) return refused
    if (set.data === 'eventfd')
      return unmask ? this.#setUnmask(call, set.values[0] ?? -1) : refuse(IntxMaskByEventfd, {})
    if (set.data === 'none' || set.values[0] !== 0) {
      if (unmask) this.#doUnmask()
      else this.#masked = true
    }
    return 0
  }

  #setUnmask(call: Call, descriptor: number): Result<number> {
    if (descriptor < 0) {
      this.#dropUnmask()
      return 0
    }
    const eventfd = holdEventfd(call, descriptor)
    if (eventfd instanceof Refusal) return eventfd
    // When its last descriptor is closed, an eventfd unmasks no more: Linux lets go of it by itself.
    if (this.#unmask?.eventfd.abandoned?.() === true) this.#dropUnmask()
    if (this.#unmask !== undefined) {
      eventfd.close()
      return refuse(IntxUnmaskInstalled, {})
    }
    let installing = true
    const stop = eventfd.onSignal(() => {
      // What was signalled before it was installed unmasks once, and stays in the counter.
      if (!installing) eventfd.drain()
      this.#doUnmask()
    })
    installing = false
    this.#unmask = { eventfd, stop }
    return 0
  }

  #doUnmask(): void {
    if (!this.#masked || this.#disabled) return
    if (this.#line) this.#trigger?.signal()
    else this.#masked = false
  }

  /** The device asserts or releases the line. */
  setLine(asserted: boolean): void {
    this.#line = asserted
    this.#fireIfAsserted()
  }

  #fireIfAsserted(): void {
    if (!this.active || !this.#line || this.#masked) return
    this.#masked = true
    if (!this.#disabled) this.#trigger?.signal()
  }

  /** INTx disable of COMMAND: setting it masks, clearing it unmasks whatever had masked. */
  setDisabled(disabled: boolean): void {
    if (disabled === this.#disabled) return
    this.#disabled = disabled
    if (!this.active) return
    if (disabled) this.#masked = true
    else this.#doUnmask()
  }

  disable(): void {
    this.#trigger?.close()
    this.#trigger = undefined
    this.#dropUnmask()
    this.active = false
    this.#masked = false
  }

  #dropUnmask(): void {
    this.#unmask?.stop()
    this.#unmask?.eventfd.close()
    this.#unmask = undefined
  }

  /** A fresh open starts with the line as the device drives it, and nothing set up. */
  reset(): void {
    this.disable()
    this.#disabled = false
  }
}
