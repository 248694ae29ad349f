/**
 * Every refusal is data (DESIGN.md, "Every refusal is data").
 *
 * A concept's file declares, beside its handlers, one `ReasonKind` for each check that can refuse:
 *
 *     export const MapOverlapsArea = reasonKind<{ wanted: Range; area: Range }>({
 *       code: 'map-overlaps-area',
 *       errno: 'EEXIST',
 *       cite: '01 §12.2 step 5.4',
 *       say: ({ wanted, area }) => `the range ${range(wanted)} overlaps the area ${range(area)}`,
 *       advice: 'Unmap the area first, or let the kernel choose the IOVA.',
 *     })
 *
 * and refuses with `return refuse(MapOverlapsArea, { wanted, area })`. The client sees the errno;
 * the trace, the doctor, the inspector and docs/errors.md read the rest. Success allocates nothing.
 */
import { Errno, type ErrnoName } from '../abi/errno.ts'

export interface ReasonKind<Fields> {
  /** Stable, unique, kebab-case; the key under which docs/errors.md describes it. */
  readonly code: string
  readonly errno: ErrnoName
  /** Chapter and section of the specification that rules this check, e.g. `01 §12.2 step 5.4`. */
  readonly cite: string
  /** What was wrong, as a clause that completes "IOAS_MAP failed with EEXIST: ...". */
  readonly say: (fields: Fields) => string
  /** What the caller can do about it; one sentence. A test sees to it that every reason of ours has one. */
  readonly advice?: string
}

/** One refusal: a kind and the values that fill it. `instanceof Refusal` tells it from success. */
export class Refusal<Fields = unknown> {
  readonly kind: ReasonKind<Fields>
  readonly fields: Fields
  constructor(kind: ReasonKind<Fields>, fields: Fields) {
    this.kind = kind
    this.fields = fields
  }
  get code(): string {
    return this.kind.code
  }
  /** The positive errno value the client sees. */
  get errno(): number {
    return Errno[this.kind.errno]
  }
  /** The clause with the values filled in. */
  say(): string {
    return this.kind.say(this.fields)
  }
}

/** What engine functions return: the value itself, or a Refusal. */
export type Result<T> = T | Refusal

/** A refusal of a known kind can stand wherever any refusal can: its fields are read only by its own kind. */
export const refuse = <Fields>(kind: ReasonKind<Fields>, fields: Fields): Refusal =>
  new Refusal(kind, fields) as unknown as Refusal

const declared = new Map<string, ReasonKind<never>>()

/** Declares a reason; a code declared twice is a programming error. */
export const reasonKind = <Fields = Record<never, never>>(
  kind: ReasonKind<Fields>,
): ReasonKind<Fields> => {
  if (declared.has(kind.code)) throw new Error(`reason ${kind.code} is declared twice`)
  declared.set(kind.code, kind)
  return kind
}

/** All reasons declared by the modules loaded so far, for documentation and tests. */
export const allReasonKinds = (): readonly ReasonKind<never>[] => [...declared.values()]
