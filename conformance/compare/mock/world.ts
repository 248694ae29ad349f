/**
 * What a sequence with mock devices has made so far. The engine plays along while the sequence is
 * generated, so that later calls can name objects that exist, and so that nothing is asked of a real
 * kernel that would crash or hang it.
 */
import type { EngineEvent } from '../../../src/engine/events.ts'
import { Machine } from '../../../src/engine/machine.ts'
import type { ObjectType } from '../../../src/engine/objects.ts'
import { TestBench } from '../../../src/iommu/test/test-bench.ts'
import { testCommand } from '../../../src/iommu/test/test-command.ts'
import { SimulatedProcess } from '../../doors/simulated-process.ts'
import type { RandomCall } from '../call.ts'
import type { Random } from '../random.ts'

export class MockWorld {
  readonly calls: RandomCall[] = []
  readonly #objects = new Map<number, string>()
  /** `DEVICE ID.PASID` of PASIDs attached now. */
  readonly #pasids = new Map<string, number>()
  /** Slots of event files and of access files that are open. */
  readonly files: { readonly slot: number; readonly kind: 'fault' | 'event' | 'access' }[] = []
  readonly #process: SimulatedProcess
  readonly #newIoases: number[] = []
  #slots = 10

  constructor(setUp: readonly string[]) {
    const machine = new Machine({
      testInterface: true,
      commands: [testCommand(new TestBench())],
      observer: { event: (event) => this.#learn(event) },
    })
    this.#process = new SimulatedProcess(machine)
    for (const line of setUp) this.#process.execute(line)
  }

  /** Adds a call to the sequence; returns what the engine prints for its lines. */
  add(call: RandomCall): readonly string[] {
    this.calls.push(call)
    return call.lines.map((line) => this.#process.execute(line) ?? '')
  }

  /** IOASes that were made since this was asked last. */
  newIoases(): number[] {
    return this.#newIoases.splice(0)
  }

  newSlot(): number {
    return this.#slots++
  }

  /** IDs of objects of these types; any small number when there are none, and now and then. */
  id(random: Random, ...types: readonly ObjectType[]): number {
    const fitting = [...this.#objects].filter(([, type]) => types.includes(type as ObjectType))
    if (fitting.length === 0 || random.chance(6))
      return random.weighted([
        [20, 1 + random.below(12)],
        [1, 0],
        [1, random.word()],
      ])
    return random.pick(fitting)[0]
  }

  typeOf(id: number): string | undefined {
    return this.#objects.get(id)
  }

  /** IDs of the objects that stand for mock devices. */
  get mockDevices(): number[] {
    return [...this.#objects].filter(([, type]) => type === 'selftest').map(([id]) => id)
  }

  /** PASIDs attached somewhere: a mock device that has one must not be destroyed (05 §A.2.3). */
  get pasids(): number[] {
    return [...new Set(this.#pasids.values())]
  }

  /** A slot of such a file, or one that is not open. */
  slot(random: Random, ...kinds: readonly string[]): number {
    const fitting = this.files.filter(({ kind }) => kinds.includes(kind))
    return fitting.length === 0 || random.chance(4) ? 9 : random.pick(fitting).slot
  }

  forget(slot: number): void {
    const at = this.files.findIndex((file) => file.slot === slot)
    if (at >= 0) this.files.splice(at, 1)
  }

  #learn(event: EngineEvent): void {
    if (event.type === 'object-created') {
      this.#objects.set(event.id, event.object)
      if (event.object === 'ioas') this.#newIoases.push(event.id)
    } else if (event.type === 'object-destroyed') this.#objects.delete(event.id)
    else if (event.type === 'attached' && event.pasid !== undefined)
      this.#pasids.set(`${event.object}.${event.pasid}`, event.pasid)
    else if (event.type === 'detached' && event.pasid !== undefined)
      this.#pasids.delete(`${event.object}.${event.pasid}`)
  }
}
