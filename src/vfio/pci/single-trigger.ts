/** ERR and REQ: one eventfd each, independent of the device's interrupts (06 §6.5). */
import type { Call, HeldEventfd } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import type { IrqSet } from '../irq-set.ts'
import { holdEventfd } from './eventfd.ts'
import { InterruptNotActive } from './message-interrupts.ts'

export const TriggerCountZero = reasonKind<{ index: number }>({
  code: 'trigger-count-zero',
  errno: 'EINVAL',
  cite: '06 §6.5',
  say: ({ index }) => `interrupt index ${index} takes count 1 with data, not 0`,
  advice: 'Set count to 1; DATA_NONE with count 0 switches the interrupt off.',
})

export const TriggerDescriptorNegative = reasonKind<{ descriptor: number }>({
  code: 'trigger-descriptor-negative',
  errno: 'EINVAL',
  cite: '06 §6.5',
  say: ({ descriptor }) => `${descriptor} is neither a descriptor nor -1`,
  advice: 'Pass an eventfd, or -1 to take it away.',
})

export class SingleTrigger {
  readonly #index: number
  #trigger: HeldEventfd | undefined

  constructor(index: number) {
    this.#index = index
  }

  set(call: Call, { data, count, values }: IrqSet): Result<number> {
    if (data === 'none') {
      if (this.#trigger === undefined) return refuse(InterruptNotActive, { index: this.#index })
      if (count === 0) this.drop()
      else this.#trigger.signal()
      return 0
    }
    if (count === 0) return refuse(TriggerCountZero, { index: this.#index })
    const value = values[0] ?? -1
    if (data === 'bool') {
      if (value !== 0) this.#trigger?.signal()
      return 0
    }
    if (value < -1) return refuse(TriggerDescriptorNegative, { descriptor: value })
    if (value === -1) {
      this.drop()
      return 0
    }
    const eventfd = holdEventfd(call, value)
    if (eventfd instanceof Refusal) return eventfd
    this.drop()
    this.#trigger = eventfd
    return 0
  }

  /** The host has something to say: an error, or a wish to have the device back. */
  signal(): void {
    this.#trigger?.signal()
  }

  drop(): void {
    this.#trigger?.close()
    this.#trigger = undefined
  }
}
