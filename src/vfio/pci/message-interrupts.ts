/** MSI and MSI-X as SET_IRQS drives them (06 §6.4): triggers of vectors, allocation, latched events. */
import type { Call, HeldEventfd } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import type { IrqSet } from '../irq-set.ts'
import { holdEventfd } from './eventfd.ts'

export const InterruptNotActive = reasonKind<{ index: number }>({
  code: 'interrupt-not-active',
  errno: 'EINVAL',
  cite: '06 §6.3, §6.4',
  say: ({ index }) => `interrupt index ${index} is not enabled`,
  advice: 'Enable it first with DATA_EVENTFD and ACTION_TRIGGER.',
})

export const OtherInterruptActive = reasonKind<{ wanted: string; active: string }>({
  code: 'other-interrupt-active',
  errno: 'EINVAL',
  cite: '06 §6.4',
  say: ({ wanted, active }) => `${wanted} is asked for while ${active} is enabled`,
  advice: 'Disable the other kind first: DATA_NONE, ACTION_TRIGGER, count 0.',
})

export const NoVectorsAsked = reasonKind<{ index: number }>({
  code: 'no-vectors-asked',
  errno: 'ERANGE',
  cite: '06 §6.4',
  say: ({ index }) =>
    `enabling interrupt index ${index} with start 0 and count 0 asks for no vector`,
  advice: 'Set count to the number of vectors; DATA_NONE with count 0 switches the interrupts off.',
})

export const VectorNotAllocated = reasonKind<{ vector: number; allocated: number }>({
  code: 'vector-not-allocated',
  errno: 'EINVAL',
  cite: '06 §6.4',
  say: ({ vector, allocated }) =>
    `vector ${vector} is beyond the ${allocated} that were allocated when the interrupts were enabled`,
  advice: 'Disable the interrupts and enable all vectors at once.',
})

export class MessageInterrupts {
  readonly kind: 'msi' | 'msix'
  readonly index: number
  /** Single vectors can be allocated later: "dynamic MSI-X". */
  readonly #dynamic: boolean
  readonly #triggers = new Map<number, HeldEventfd>()
  /** MSI-X events without a trigger to deliver them to (06 §6.4). */
  readonly #pending = new Set<number>()
  #allocated = 0
  active = false
  /** Most vectors of the latest enabling; never reset (06 §5.7). */
  vectorsEver = 0

  constructor(kind: 'msi' | 'msix', options: { dynamic: boolean }) {
    this.kind = kind
    this.index = kind === 'msi' ? 1 : 2
    this.#dynamic = options.dynamic
  }

  /** ACTION_TRIGGER. The caller has made sure that no other kind is active where that matters. */
  set(call: Call, set: IrqSet, activate: () => void, deactivate: () => void): Result<number> {
    if (set.data !== 'eventfd') {
      if (!this.active) return refuse(InterruptNotActive, { index: this.index })
      if (set.data === 'none' && set.count === 0) {
        this.disable()
        deactivate()
        return 0
      }
      return this.#loopBack(set)
    }
    if (this.active) return this.#setBlock(call, set)
    const vectors = set.start + set.count
    if (vectors === 0) return refuse(NoVectorsAsked, { index: this.index })
    this.active = true
    this.#allocated = vectors
    const done = this.#setBlock(call, set)
    if (done instanceof Refusal) {
      this.disable()
      return done
    }
    this.vectorsEver = vectors
    activate()
    return 0
  }

  #loopBack(set: IrqSet): number {
    for (let i = 0; i < set.count; i++)
      if (set.data === 'none' || set.values[i] !== 0) this.#triggers.get(set.start + i)?.signal()
    return 0
  }

  /** On the first error the vectors up to the failing one have no trigger any more. */
  #setBlock(call: Call, set: IrqSet): Result<number> {
    for (let i = 0; i < set.count; i++) {
      const vector = set.start + i
      const done = this.#setTrigger(call, vector, set.values[i] ?? -1)
      if (done instanceof Refusal) {
        for (let undone = set.start; undone <= vector; undone++) this.#drop(undone)
        return done
      }
    }
    return 0
  }

  #setTrigger(call: Call, vector: number, descriptor: number): Result<void> {
    this.#drop(vector)
    if (descriptor < 0) return
    const fixed = this.kind === 'msi' || !this.#dynamic
    if (fixed && vector >= this.#allocated)
      return refuse(VectorNotAllocated, { vector, allocated: this.#allocated })
    const eventfd = holdEventfd(call, descriptor)
    if (eventfd instanceof Refusal) return eventfd
    this.#triggers.set(vector, eventfd)
    if (this.#pending.delete(vector)) eventfd.signal()
  }

  #drop(vector: number): void {
    this.#triggers.get(vector)?.close()
    this.#triggers.delete(vector)
  }

  /** The device raises a vector while bus master is on. */
  raise(vector: number): void {
    if (!this.active) return
    const trigger = this.#triggers.get(vector)
    if (trigger !== undefined) trigger.signal()
    else if (this.kind === 'msix') this.#pending.add(vector)
  }

  /** The descriptor of this process behind a vector that is to be signalled and nothing else. */
  descriptorOf(vector: number): number | undefined {
    return this.active ? this.#triggers.get(vector)?.descriptor : undefined
  }

  /** The function is reset: what was latched is forgotten; triggers stay. */
  forgetPending(): void {
    this.#pending.clear()
  }

  disable(): void {
    for (const vector of [...this.#triggers.keys()]) this.#drop(vector)
    this.active = false
    this.#allocated = 0
  }
}
