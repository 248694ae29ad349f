import { Refusal } from '../engine/reason.ts'

/** Members of events that only the host of the recording could know. */
const OF_THE_HOST: ReadonlySet<string> = new Set(['place'])

/** Do two values of events say the same? A refusal is the same if it has the same code and says the same. */
export const same = (one: unknown, other: unknown): boolean => {
  if (one === other) return true
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null)
    return Number.isNaN(one) && Number.isNaN(other)
  if (one instanceof Refusal || other instanceof Refusal)
    return (
      one instanceof Refusal &&
      other instanceof Refusal &&
      one.code === other.code &&
      one.errno === other.errno &&
      one.say() === other.say()
    )
  if (one instanceof Uint8Array || other instanceof Uint8Array)
    return (
      one instanceof Uint8Array &&
      other instanceof Uint8Array &&
      one.length === other.length &&
      one.every((byte, i) => byte === other[i])
    )
  const members: Readonly<Record<string, unknown>> = { ...one }
  const others: Readonly<Record<string, unknown>> = { ...other }
  const names = new Set([...Object.keys(members), ...Object.keys(others)])
  for (const name of names)
    if (!OF_THE_HOST.has(name) && !same(members[name], others[name])) return false
  return true
}
