/**
 * Who made what, in which call: contexts, objects, mappings, attachments, as the events of a run tell.
 * What refusals and findings name is looked up here.
 */
import type { ObjectId } from '../abi/brands.ts'
import type { CallNumber, ContextNumber, EngineEvent, ProcessMemory } from '../engine/events.ts'
import { type Interval, IntervalMap } from '../engine/interval-map.ts'

export type AreaMapped = EngineEvent & { readonly type: 'area-mapped' }
export type Attached = EngineEvent & { readonly type: 'attached' }

/** A mapping as it is now: a cut leaves two of what was one. */
export interface AreaHistory {
  readonly context: ContextNumber
  readonly ioas: ObjectId
  readonly start: bigint
  readonly last: bigint
  readonly mapped: CallNumber
  readonly source: string
  readonly fixed: boolean
  readonly readable: boolean
  readonly writable: boolean
  readonly memory?: ProcessMemory
  readonly copyOf?: AreaMapped['copyOf']
}

/** A mapping that is gone. */
export interface FormerArea {
  readonly area: AreaHistory
  readonly unmapped: CallNumber
}

export interface ObjectHistory {
  readonly id: ObjectId
  /** `ioas`, `hwpt-paging` */
  readonly type: string
  readonly made: CallNumber
  /** Made in the call that opened the context, or as the compat IOAS: not by the program's wish. */
  automatic: boolean
}

export interface FormerObject extends ObjectHistory {
  readonly destroyed: CallNumber
  readonly by: (EngineEvent & { type: 'object-destroyed' })['by']
}

export interface DeviceHistory {
  readonly name: string
  readonly object: ObjectId
  readonly bound: CallNumber
  attached?: Attached | undefined
}

/** As many mappings of an IOAS that are gone are remembered. */
const FORMER_AREAS = 512

export class IoasHistory {
  readonly areas = new IntervalMap<AreaHistory, bigint>()
  count = 0
  /** Oldest first. */
  readonly former: FormerArea[] = []
  /** An attachment that still is, if any. */
  readonly attached = new Set<ObjectId>()

  at(iova: bigint): AreaHistory | undefined {
    return this.areas.find(iova)?.value
  }

  /** Mappings that have an address in common with the range, ascending. */
  within(start: bigint, last: bigint): AreaHistory[] {
    return this.areas.overlapping(start, last + 1n).map(({ value }) => value)
  }

  /** The mapping that was there last and is not any more. */
  formerAt(start: bigint, last = start): FormerArea | undefined {
    return this.former.findLast(({ area }) => area.start <= last && area.last >= start)
  }

  add(area: AreaHistory): void {
    this.areas.insert(area.start, area.last + 1n, area)
    this.count += 1
  }

  /** The mapping of exactly this range goes. */
  remove({ start }: Interval<AreaHistory, bigint>): void {
    this.areas.delete(start)
    this.count -= 1
  }

  forget(area: AreaHistory, unmapped: CallNumber): void {
    this.former.push({ area, unmapped })
    // Not one by one: that would move all others each time.
    if (this.former.length > 2 * FORMER_AREAS) this.former.splice(0, FORMER_AREAS)
  }
}

export class ContextHistory {
  readonly number: ContextNumber
  readonly node: string
  readonly pid: number
  readonly opened: CallNumber
  readonly objects = new Map<ObjectId, ObjectHistory>()
  /** The last object that had an ID and is gone. */
  readonly former = new Map<ObjectId, FormerObject>()
  readonly ioases = new Map<ObjectId, IoasHistory>()
  /** By object. */
  readonly devices = new Map<ObjectId, DeviceHistory>()
  compatIoas: ObjectId | undefined

  constructor({ context, node, pid, call }: EngineEvent & { type: 'context-opened' }) {
    this.number = context
    this.node = node
    this.pid = pid
    this.opened = call
  }

  /** The IOAS that calls without one act on: the compat IOAS, else the only one there is. */
  get onlyIoas(): IoasHistory | undefined {
    if (this.compatIoas !== undefined) return this.ioases.get(this.compatIoas)
    const [first] = this.ioases.values()
    return this.ioases.size === 1 ? first : undefined
  }

  device(name: string): DeviceHistory | undefined {
    for (const device of this.devices.values()) if (device.name === name) return device
    return undefined
  }
}

export class History {
  readonly contexts = new Map<ContextNumber, ContextHistory>()

  ioas(context: ContextNumber | undefined, id: number | undefined): IoasHistory | undefined {
    if (context === undefined || id === undefined) return undefined
    return this.contexts.get(context)?.ioases.get(id as ObjectId)
  }

  /** Takes an event into account. Finders are told of it before, and find things as they were. */
  apply(event: EngineEvent): void {
    if (event.type === 'context-opened') {
      this.contexts.set(event.context, new ContextHistory(event))
      return
    }
    if (!('context' in event) || event.context === undefined) return
    const context = this.contexts.get(event.context)
    if (context !== undefined) this.#applyTo(context, event)
  }

  #applyTo(context: ContextHistory, event: EngineEvent): void {
    switch (event.type) {
      case 'context-released':
        this.contexts.delete(context.number)
        return
      case 'object-created':
        context.objects.set(event.id, {
          id: event.id,
          type: event.object,
          made: event.call,
          automatic: event.call === context.opened,
        })
        context.former.delete(event.id)
        if (event.object === 'ioas') context.ioases.set(event.id, new IoasHistory())
        return
      case 'object-destroyed':
        objectGone(context, event)
        return
      case 'area-mapped':
        context.ioases.get(event.ioas)?.add(areaOf(event))
        return
      case 'area-unmapped':
        unmapped(context.ioases.get(event.ioas), event)
        return
      case 'area-split':
        split(context.ioases.get(event.ioas), event.after)
        return
      case 'compat-ioas': {
        context.compatIoas = event.ioas
        const object = event.ioas === undefined ? undefined : context.objects.get(event.ioas)
        if (event.by === 'auto' && object !== undefined) object.automatic = true
        return
      }
      case 'device-bound':
        context.devices.set(event.object, {
          name: event.device,
          object: event.object,
          bound: event.call,
        })
        return
      case 'device-unbound':
        context.devices.delete(event.object)
        return
      case 'attached':
      case 'detached':
        attachment(context, event)
        return
    }
  }
}

/** The mapping that an event tells of. */
export const areaOf = (event: AreaMapped): AreaHistory => {
  const area: { -readonly [Name in keyof AreaHistory]: AreaHistory[Name] } = {
    context: event.context,
    ioas: event.ioas,
    start: event.iova,
    last: event.iova + event.length - 1n,
    mapped: event.call,
    source: event.source,
    fixed: event.fixed,
    readable: event.readable,
    writable: event.writable,
  }
  if (event.memory !== undefined) area.memory = event.memory
  if (event.copyOf !== undefined) area.copyOf = event.copyOf
  return area
}

const unmapped = (
  ioas: IoasHistory | undefined,
  { iova, length, call }: EngineEvent & { type: 'area-unmapped' },
): void => {
  for (const interval of ioas?.areas.overlapping(iova, iova + length) ?? []) {
    ioas?.remove(interval)
    ioas?.forget(interval.value, call)
  }
}

/** The two mappings that a cut makes of one. */
export const cutInTwo = (area: AreaHistory, after: bigint): readonly [AreaHistory, AreaHistory] => {
  const start = after + 1n
  const { memory } = area
  if (memory === undefined)
    return [
      { ...area, last: after },
      { ...area, start },
    ]
  const address = (memory.address + start - area.start) as ProcessMemory['address']
  return [
    { ...area, last: after },
    { ...area, start, memory: { ...memory, address } },
  ]
}

const split = (ioas: IoasHistory | undefined, after: bigint): void => {
  const interval = ioas?.areas.find(after)
  if (ioas === undefined || interval === undefined || interval.value.last === after) return
  ioas.remove(interval)
  for (const part of cutInTwo(interval.value, after)) ioas.add(part)
}

const objectGone = (
  context: ContextHistory,
  { id, call, by, object: type }: EngineEvent & { type: 'object-destroyed' },
): void => {
  const made = context.objects.get(id) ?? { id, type, made: 0, automatic: false }
  context.objects.delete(id)
  context.former.set(id, { ...made, destroyed: call, by })
  if (type === 'ioas') context.ioases.delete(id)
}

const attachment = (
  { devices, ioases }: ContextHistory,
  event: EngineEvent & { type: 'attached' | 'detached' },
): void => {
  if (event.pasid !== undefined) return
  const device = devices.get(event.object)
  const before = device?.attached
  if (before !== undefined) ioases.get(before.ioas)?.attached.delete(event.object)
  if (device !== undefined) device.attached = event.type === 'attached' ? event : undefined
  if (event.type === 'attached') ioases.get(event.ioas)?.attached.add(event.object)
}
