/** One served record, taken apart: how the machine was entered, and the answers to what it will ask. */
import { RecordingError, type ServedRecord } from '../watch/recording.ts'
import { ASKED_ARITY, Asked, type AskedCode, ENTRY_ARITY, HEAD } from './served.ts'

interface Answer {
  readonly asked: number
  readonly values: readonly unknown[]
  used: boolean
}

export class Answers {
  readonly entry: number
  /** The system call that was served then; 0 for none. */
  readonly systemCall: number
  readonly result: unknown
  /** It ended in a mistake of ours. */
  readonly thrown: boolean
  readonly args: readonly unknown[]
  readonly #answers: Answer[] = []

  /** Throws RecordingError where a later version noted what is not known here. */
  constructor(record: ServedRecord) {
    const [entry, systemCall] = record
    this.entry = numberOf(entry)
    this.systemCall = numberOf(systemCall)
    let at = HEAD + arityOf(ENTRY_ARITY, this.entry, 'way into the machine')
    this.args = record.slice(HEAD, at)
    while (at < record.length) {
      const asked = numberOf(record[at])
      const end = at + 1 + arityOf(ASKED_ARITY, asked, 'question')
      if (end > record.length) throw new RecordingError('a question has lost its answer')
      this.#answers.push({ asked, values: record.slice(at + 1, end), used: false })
      at = end
    }
    this.thrown = this.all(Asked.THROWN).length > 0
    this.result = this.all(Asked.RESULT)[0]?.[0]
  }

  /**
   * The values behind `key` of the next answer to this question, in the order of asking; of the last one,
   * where all have been given. Undefined where it was never asked.
   */
  next(asked: AskedCode, ...key: readonly unknown[]): readonly unknown[] | undefined {
    return this.nextOf([asked], key)?.values
  }

  /** The same for whichever of several questions comes first. */
  nextOf(
    asked: readonly number[],
    key: readonly unknown[],
  ): { readonly asked: number; readonly values: readonly unknown[] } | undefined {
    let last: Answer | undefined
    for (const answer of this.#answers) {
      if (!asked.includes(answer.asked) || !key.every((value, i) => value === answer.values[i]))
        continue
      last = answer
      if (!answer.used) break
    }
    if (last === undefined) return undefined
    last.used = true
    return { asked: last.asked, values: last.values.slice(key.length) }
  }

  /** The next answer to this question that fits and has not been given. */
  once(
    asked: AskedCode,
    fits: (values: readonly unknown[]) => boolean,
  ): readonly unknown[] | undefined {
    const found = this.#answers.find(
      (answer) => answer.asked === asked && !answer.used && fits(answer.values),
    )
    if (found !== undefined) found.used = true
    return found?.values
  }

  /** All answers to a question, asked or not. */
  all(asked: AskedCode): (readonly unknown[])[] {
    return this.#answers.filter((answer) => answer.asked === asked).map(({ values }) => values)
  }

  /** What the machine did not ask this time. */
  unused(asked: AskedCode): (readonly unknown[])[] {
    return this.#answers
      .filter((answer) => answer.asked === asked && !answer.used)
      .map(({ values }) => values)
  }
}

const arityOf = (table: Readonly<Record<number, number>>, code: number, what: string): number => {
  const arity = table[code]
  if (arity === undefined)
    throw new RecordingError(
      `it has a ${what} of kind ${code}, which this version of iommufd-user does not know`,
    )
  return arity
}

export const numberOf = (value: unknown): number => {
  if (typeof value !== 'number') throw new RecordingError('a number was expected')
  return value
}

export const bigintOf = (value: unknown): bigint => {
  if (typeof value !== 'bigint') throw new RecordingError('a 64-bit number was expected')
  return value
}

export const textOf = (value: unknown): string => {
  if (typeof value !== 'string') throw new RecordingError('a text was expected')
  return value
}

export const contentIn = (value: unknown): Uint8Array | number => {
  if (!(value instanceof Uint8Array)) return numberOf(value)
  return value
}

export const numbersOf = (value: unknown): number[] => {
  if (!Array.isArray(value)) throw new RecordingError('a list was expected')
  return value.map(numberOf)
}
