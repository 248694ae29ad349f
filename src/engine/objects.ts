/** The objects of a context, their IDs and their user counts (01 §5). */
import type { ObjectId } from '../abi/brands.ts'
import type { Context } from './context.ts'
import type { Call } from './ports.ts'
import { type Result, reasonKind, refuse } from './reason.ts'

/** What an object is called in the spec, in traces and in refusals. */
export type ObjectType =
  | 'ioas'
  | 'device'
  | 'access'
  | 'hwpt-paging'
  | 'hwpt-nested'
  | 'fault'
  | 'viommu'
  | 'vdevice'
  | 'veventq'
  | 'hw-queue'
  | 'selftest'

/** Why an object went away; `driver` covers unbinding a device and dropping an access. */
export type DestroyedBy = 'destroy' | 'driver' | 'release' | 'last-detach' | 'undo'

/** The part of a call that decides about injected failures and whose process acts. */
export type Caller = Pick<Call, 'process' | 'fails'>

export const NoFreeId = reasonKind({
  code: 'no-free-id',
  errno: 'EBUSY',
  cite: '01 §5.1',
  say: () => 'all 2147483647 object IDs of this context are taken',
  advice: 'Destroy objects that are not needed any more: this many are most likely a leak.',
})

export const AllocateObjectFails = reasonKind({
  code: 'allocate-object-fails',
  errno: 'ENOMEM',
  cite: '05 §A.11',
  say: () => 'no memory for the object (injected failure)',
  advice:
    'This failure was injected: make sure that the program frees what it has and passes the error on.',
})

export const NoSuchObject = reasonKind<{ id: number; wanted: string; found: string | undefined }>({
  code: 'no-such-object',
  errno: 'ENOENT',
  cite: '01 §5.2',
  say: ({ id, wanted, found }) =>
    found === undefined
      ? `no ${wanted} has the ID ${id}`
      : `the ID ${id} names a ${found}, not a ${wanted}`,
  advice: 'Use the ID that the allocating call returned, and only until the object is destroyed.',
})

export const LookUpFails = reasonKind<{ id: number }>({
  code: 'look-up-fails',
  errno: 'ENOENT',
  cite: '05 §A.11',
  say: ({ id }) => `the look-up of ID ${id} was made to fail (injected failure)`,
  advice:
    'This failure was injected: make sure that the program frees what it has and passes the error on.',
})

export const ObjectInUse = reasonKind<{
  id: number
  object: string
  users: number
  by: readonly string[]
}>({
  code: 'object-in-use',
  errno: 'EBUSY',
  cite: '01 §5.4 check 2',
  say: ({ id, object, users, by }) =>
    `${object} ${id} has ${users} user${users === 1 ? '' : 's'}${by.length > 0 ? `: ${by.join(', ')}` : ''}`,
  advice: 'Destroy or detach what uses it first; devices and accesses go only with their driver.',
})

/** Anything that has an ID in a context. The subclass says what tearing down means. */
export abstract class KernelObject {
  readonly context: Context
  readonly id: ObjectId
  abstract readonly type: ObjectType
  /** Starts with the base reference of the ID table (01 §5.3). */
  users = 1

  constructor(context: Context, id: ObjectId) {
    this.context = context
    this.id = id
  }

  /** The ID is free already and nobody uses the object: give back what it holds. */
  abstract teardown(by: DestroyedBy): void

  /** Objects on whose users this one counts, each as often as it counts. */
  holds(): readonly KernelObject[] {
    return []
  }

  /** Who uses this object, for people: `hwpt-paging 3`, `device 2`. Used only in refusals. */
  usedBy(): readonly string[] {
    return [...this.context.objects].filter((other) => other.holds().includes(this)).map(String)
  }

  toString(): string {
    return `${this.type} ${this.id}`
  }
}

/** A class of objects, also an abstract one: what a look-up accepts. */
export type ObjectClass<T extends KernelObject> = abstract new (...args: never[]) => T

/** An ID that is taken while its object is being made, or for ever. */
const RESERVED = 'reserved'
const TOMBSTONE = 'tombstone'

export class ObjectTable {
  /** Index is the ID; IDs are dense (lowest free first), so an array fits. Index 0 stays empty. */
  readonly #slots: (KernelObject | typeof RESERVED | typeof TOMBSTONE | undefined)[] = [undefined]
  /** Free IDs below the end of `#slots`, as a binary heap with the lowest first. */
  readonly #free: number[] = []
  #count = 0

  /** Number of IDs taken: objects, reservations and tombstones (01 §8.1 step 3.2). */
  get size(): number {
    return this.#count
  }

  /** Takes the lowest free ID (01 §5.1). Follow with `publish` or `abort`. */
  reserve(caller?: Pick<Call, 'fails'>): Result<ObjectId> {
    if (caller?.fails('allocate-object')) return refuse(AllocateObjectFails, {})
    const id = this.#free.length > 0 ? popLowest(this.#free) : this.#slots.length
    if (id > 0x7fff_ffff) return refuse(NoFreeId, {})
    this.#slots[id] = RESERVED
    this.#count += 1
    return id as ObjectId
  }

  /** The object becomes visible under the ID it was made with. */
  publish(object: KernelObject): void {
    this.#slots[object.id] = object
    const { machine } = object.context
    if (machine.observer !== undefined)
      object.context.emit({
        type: 'object-created',
        id: object.id,
        object: object.type,
        holds: object.holds().map(({ id }) => id),
      })
  }

  /** The ID becomes free again: creation failed. */
  abort(id: ObjectId): void {
    this.#release(id)
  }

  /** Any object by ID; undefined for free, reserved and tombstoned IDs. */
  peek(id: number): KernelObject | undefined {
    const slot = this.#slots[id]
    return typeof slot === 'object' ? slot : undefined
  }

  /** Look-up of an ID that must name an object of a class (01 §5.2). */
  find<T extends KernelObject>(
    id: number,
    wanted: ObjectClass<T>,
    name: string,
    caller?: Pick<Call, 'fails'>,
  ): Result<T> {
    if (caller?.fails('look-up-object')) return refuse(LookUpFails, { id })
    const object = this.peek(id)
    if (object instanceof wanted) return object
    return refuse(NoSuchObject, { id, wanted: name, found: object?.type })
  }

  /** The object is destroyed: its ID becomes free (or a tombstone), then it is torn down (01 §5.4). */
  remove(object: KernelObject, by: DestroyedBy, options?: { tombstone: boolean }): void {
    if (options?.tombstone) this.#slots[object.id] = TOMBSTONE
    else this.#release(object.id)
    object.teardown(by)
    const { machine } = object.context
    if (machine.observer !== undefined)
      object.context.emit({ type: 'object-destroyed', id: object.id, object: object.type, by })
  }

  /** Refuses while anybody but the table uses the object (01 §5.4 check 2). */
  removeUnused(object: KernelObject, by: DestroyedBy): Result<void> {
    if (object.users > 1) {
      return refuse(ObjectInUse, {
        id: object.id,
        object: object.type,
        users: object.users - 1,
        by: object.usedBy(),
      })
    }
    this.remove(object, by)
  }

  /** All objects, in ID order. */
  *[Symbol.iterator](): Iterator<KernelObject> {
    for (const slot of this.#slots) if (typeof slot === 'object') yield slot
  }

  /**
   * Release of the context (01 §5.6): sweeps in ascending ID order, each destroying what only the
   * table uses, until nothing is left. Returns what a whole sweep could not destroy (a leak).
   */
  sweep(): readonly KernelObject[] {
    for (;;) {
      let left = 0
      let destroyed = 0
      for (let id = 1; id < this.#slots.length; id += 1) {
        const object = this.#slots[id]
        if (typeof object !== 'object') continue
        if (object.users > 1) left += 1
        else {
          this.remove(object, 'release')
          destroyed += 1
        }
      }
      if (left === 0) return []
      if (destroyed === 0) return [...this]
    }
  }

  #release(id: ObjectId): void {
    this.#slots[id] = undefined
    this.#count -= 1
    pushFree(this.#free, id)
  }
}

const popLowest = (heap: number[]): number => {
  const lowest = heap[0]
  const moved = heap.pop()
  if (lowest === undefined || moved === undefined) throw new Error('no free ID in the heap')
  if (heap.length === 0) return lowest
  let index = 0
  for (;;) {
    let child = 2 * index + 1
    const left = heap[child]
    if (left === undefined) break
    const right = heap[child + 1]
    let least = left
    if (right !== undefined && right < left) {
      child += 1
      least = right
    }
    if (least >= moved) break
    heap[index] = least
    index = child
  }
  heap[index] = moved
  return lowest
}

const pushFree = (heap: number[], id: number): void => {
  let index = heap.length
  while (index > 0) {
    const parentIndex = (index - 1) >> 1
    const parent = heap[parentIndex]
    if (parent === undefined || parent <= id) break
    heap[index] = parent
    index = parentIndex
  }
  heap[index] = id
}
