/** The ranges of IOVAs that a refusal is about: what was wanted, and what it collided with. */
import { type ObjectId, objectId } from '../../abi/brands.ts'
import { structOf } from '../../abi/format.ts'
import { Refusal } from '../../engine/reason.ts'
import { isRange } from '../../watch/range.ts'
import { declarationOf } from '../../watch/trace-line.ts'
import type { Range } from './range-set.ts'
import type { CallEvent } from './timeline.ts'

/** Of a failed call, in the order in which its reason names them; none for others. */
export const refusedRanges = ({ result }: CallEvent): readonly Range[] => {
  if (!(result instanceof Refusal)) return []
  const { fields } = result
  if (typeof fields !== 'object' || fields === null) return []
  const itself: readonly unknown[] = [fields]
  return [...itself, ...Object.values(fields)]
    .filter(isRange)
    .map(({ start, last }) => ({ start, last }))
}

const IOAS_FIELDS = ['ioas_id', 'dst_ioas_id', 'pt_id'] as const

/** The IOAS that the call named, if it did. */
export const ioasOfCall = (event: CallEvent): ObjectId | undefined => {
  const ioctl = declarationOf(event)
  const struct = event.input && ioctl && structOf(ioctl, event.input)
  if (event.input === undefined || struct === undefined) return undefined
  const fields: Readonly<Record<string, unknown>> = struct.decode(event.input)
  for (const name of IOAS_FIELDS) {
    const value = fields[name]
    if (typeof value === 'number') return objectId(value)
  }
  return undefined
}
