import type { Shape, ValueEncoder } from './recording-encoder.ts'
import type { CallEvent } from './trace-filter.ts'

/** Members that a call need not have, in their place among those that each has. */
const FIRST = ['type', 'call', 'context', 'pid', 'tid', 'operation'] as const
const OPTIONAL = ['file', 'request', 'argument', 'offset', 'input', 'output', 'place'] as const
const LAST = ['result'] as const

/** A member that is missing above would be missing in recordings: this does not compile then. */
type Named = (typeof FIRST)[number] | (typeof OPTIONAL)[number] | (typeof LAST)[number]
const complete: Exclude<keyof CallEvent, Named> extends never ? true : never = true

/**
 * Writes a call as ValueEncoder.value would, member by member: by far the commonest event, whose members
 * need not be looked up.
 */
export class CallEncoder {
  readonly #values: ValueEncoder
  /** By which of the optional members are there. */
  readonly #shapes: (Shape | undefined)[] = []

  constructor(values: ValueEncoder) {
    this.#values = values
  }

  put(event: CallEvent): void {
    const values = this.#values
    const { file, request, argument, offset, input, output, place, result, context } = event
    const there =
      (file === undefined ? 0 : 1) |
      (request === undefined ? 0 : 2) |
      (argument === undefined ? 0 : 4) |
      (offset === undefined ? 0 : 8) |
      (input === undefined ? 0 : 16) |
      (output === undefined ? 0 : 32) |
      (place === undefined ? 0 : 64)
    let shape = this.#shapes[there]
    if (shape === undefined) {
      shape = values.shapeOf(namesOf(there))
      this.#shapes[there] = shape
    }
    values.shape(shape)
    values.text(event.type)
    values.number(event.call)
    values.value(context)
    values.number(event.pid)
    values.number(event.tid)
    values.text(event.operation)
    if (file !== undefined) values.text(file)
    if (request !== undefined) values.number(request)
    if (argument !== undefined) values.bigint(argument)
    if (offset !== undefined) values.bigint(offset)
    if (input !== undefined) values.bytes(input)
    if (output !== undefined) values.bytes(output)
    if (place !== undefined) values.value(place)
    values.value(result)
  }
}

const namesOf = (there: number): readonly string[] => [
  ...FIRST,
  ...OPTIONAL.filter((_, i) => complete && (there & (1 << i)) !== 0),
  ...LAST,
]
