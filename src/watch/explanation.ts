/** Why a call failed, in a sentence, with what earlier calls have to do with it. */
import { hex, MAX_U64, objectId } from '../abi/brands.ts'
import type { ErrnoName } from '../abi/errno.ts'
import type { CallNumber, CodePlace } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import { callName, callText, type Members, subjectsOf } from './call-members.ts'
import { areaText, objectText, rangeText } from './english.ts'
import type { Evidence } from './finding.ts'
import type { AreaHistory, ContextHistory, History, IoasHistory } from './history.ts'
import { isRange, type Range } from './range.ts'
import type { CallEvent } from './trace-filter.ts'

/** A failed call. Data; `explanationText` makes it prose. */
export interface Explanation {
  readonly call: CallNumber
  /** `IOMMU_IOAS_MAP` */
  readonly name: string
  readonly pid: number
  readonly tid: number
  readonly place?: CodePlace
  readonly errno: ErrnoName
  /** The reason: the key under which docs/errors.md describes it. */
  readonly code: string
  /** What failed and which check refused it: one full sentence. */
  readonly sentence: string
  /** The objects and earlier calls that it collided with. */
  readonly evidence: readonly Evidence[]
  /** What to do about it: one full sentence. */
  readonly advice: string
  /** Chapter and section of the specification. */
  readonly rule: string
}

/** Undefined for a call that succeeded. */
export const explain = (event: CallEvent, history: History): Explanation | undefined => {
  const { result: refusal } = event
  if (!(refusal instanceof Refusal)) return undefined
  const { errno } = refusal.kind
  return {
    call: event.call,
    name: callName(event),
    pid: event.pid,
    tid: event.tid,
    ...(event.place === undefined ? {} : { place: event.place }),
    errno,
    code: refusal.code,
    sentence: `${callText(event)} failed with ${errno}: ${refusal.say()}.`,
    evidence: distinct(new Investigation(event, refusal, history).evidence()),
    advice: refusal.kind.advice ?? '',
    rule: refusal.kind.cite,
  }
}

const distinct = (evidence: readonly Evidence[]): readonly Evidence[] => [
  ...new Map(evidence.map((one) => [`${one.call} ${one.what}`, one])).values(),
]

/** Fields of refusals that hold the ID of an object. */
const OBJECTS: readonly string[] = ['ioas', 'hwpt', 'viommu', 'vdevice', 'object', 'queue']

/** `hwpt-paging 3`, `device 2 (0000:06:0d.0)`: how objects name themselves in refusals. */
const OBJECT_NAMED = /^[a-z][a-z-]* (\d+)\b/

class Investigation {
  readonly #refusal: Refusal
  readonly #fields: Members
  readonly #context: ContextHistory | undefined
  readonly #ioases: readonly IoasHistory[]

  constructor(event: CallEvent, refusal: Refusal, history: History) {
    this.#refusal = refusal
    this.#fields = { ...(refusal.fields as object) }
    this.#context = event.context === undefined ? undefined : history.contexts.get(event.context)
    const { ioas } = this.#fields
    const passed = subjectsOf(event).objects.map(({ id }) => id)
    const named = [...(typeof ioas === 'number' ? [ioas] : []), ...passed]
    const known = named
      .map((id) => history.ioas(event.context, id))
      .filter((found) => found !== undefined)
    const only = this.#context?.onlyIoas
    this.#ioases = known.length > 0 || only === undefined ? known : [only]
  }

  evidence(): readonly Evidence[] {
    const { area, mapping, taken, owner, device, by, id, start, last, at } = this.#fields
    const found = [
      ...[area, mapping].flatMap((range) => (isRange(range) ? this.#mapping(range) : [])),
      ...(typeof taken === 'bigint' ? this.#mapping({ start: taken, last: taken }) : []),
      ...(owner === undefined ? [] : this.#owner(String(owner))),
      ...(typeof device === 'string' ? this.#device(device) : []),
      ...(Array.isArray(by) ? by.flatMap((user) => this.#named(String(user))) : []),
      ...this.#object(id),
      ...(typeof start === 'bigint' && typeof last === 'bigint' ? this.#hole(start, last) : []),
      ...(typeof at === 'bigint' ? this.#hole(at, at) : []),
    ]
    // Which object it was about is news only where nothing tells more.
    return found.length > 0 ? found : OBJECTS.flatMap((name) => this.#object(this.#fields[name]))
  }

  #mapping({ start, last }: Range): readonly Evidence[] {
    for (const ioas of this.#ioases) {
      const [area] = ioas.within(start, last)
      if (area !== undefined) return [mappedEvidence(area)]
    }
    return []
  }

  #owner(owner: string): readonly Evidence[] {
    const id = OBJECT_NAMED.exec(owner)?.[1]
    const device = [...(this.#context?.devices.values() ?? [])].find(
      ({ name, object }) =>
        (owner.startsWith('device ') && object === Number(id)) || owner.includes(name),
    )
    const attached = device?.attached
    if (attached === undefined) return this.#named(owner)
    return [
      {
        call: attached.call,
        what: `${device?.name} reserved it when it was attached to IOAS ${attached.ioas}`,
      },
    ]
  }

  #device(name: string): readonly Evidence[] {
    const device = this.#context?.device(name)
    if (device === undefined) return []
    const { attached, bound, object } = device
    return [
      { call: bound, what: `${name} was bound, as object ${object}` },
      ...(attached === undefined
        ? []
        : [{ call: attached.call, what: `it was attached to IOAS ${attached.ioas}` }]),
    ]
  }

  #named(text: string): readonly Evidence[] {
    const id = OBJECT_NAMED.exec(text)?.[1]
    return id === undefined ? [] : this.#object(Number(id))
  }

  #object(value: unknown): readonly Evidence[] {
    if (this.#context === undefined || typeof value !== 'number' || value <= 0) return []
    const id = objectId(value)
    const object = this.#context.objects.get(id)
    if (object !== undefined) return [{ call: object.made, what: `${objectText(object)} was made` }]
    const former = this.#context.former.get(id)
    if (former !== undefined)
      return [
        { call: former.made, what: `${objectText(former)} was made` },
        { call: former.destroyed, what: `${objectText(former)} ceased to exist` },
      ]
    if (this.#refusal.code !== 'no-such-object') return []
    return [
      {
        what: `no object of ${this.#context.node} opened in call #${this.#context.opened} ever had the ID ${id}`,
      },
    ]
  }

  /** Where something was expected to be mapped: what was there, else what is near. */
  #hole(start: bigint, last: bigint): readonly Evidence[] {
    const [ioas] = this.#ioases
    if (ioas === undefined || ioas.within(start, last).length > 0) return []
    const former = ioas.formerAt(start, last)
    if (former !== undefined)
      return [
        mappedEvidence(former.area),
        { call: former.unmapped, what: `${rangeText(former.area)} was unmapped` },
      ]
    if (start === 0n && last === MAX_U64) return []
    const { before, after } = ioas.areas.neighbours(start)
    return [before, after].flatMap((near) =>
      near === undefined
        ? []
        : [
            {
              call: near.value.mapped,
              what: `the nearest mapping ${near === before ? 'below' : 'above'} is ${areaText(near.value)}`,
            },
          ],
    )
  }
}

export const mappedEvidence = (area: AreaHistory): Evidence => ({
  call: area.mapped,
  what: `${rangeText(area)} was mapped ${
    area.copyOf === undefined
      ? `to ${area.source}`
      : `as a copy of IOVA ${hex(area.copyOf.iova)} of IOAS ${area.copyOf.ioas}`
  }`,
})
