/** Recordings as the page gets them: from a file, or live from the run, in the same bytes. */
import { RecordingError, type RecordingHeader } from '../../watch/recording.ts'
import { RecordingReader } from '../../watch/recording-reader.ts'
import { RebuiltMachine } from '../model/rebuilt-machine.ts'
import { walkTable } from '../model/table-walk.ts'
import { type Walk, walker } from './page-table.tsx'
import { append, goToStart, origin, startOver, timeline, version } from './state.ts'

const PIECE = 1 << 20

/** Takes the bytes of one recording in order, and shows what is in them. */
class RecordingSource {
  readonly #reader = new RecordingReader()
  readonly #kind: 'live' | 'recording'
  readonly #file: string
  /** The bytes so far: page tables are looked at by making the calls again. */
  readonly #chunks: Uint8Array[] = []
  #known = false

  constructor(kind: 'live' | 'recording', file: string) {
    this.#kind = kind
    this.#file = file
  }

  /** Throws RecordingError for bytes that are no recording. */
  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes)
    const items = this.#reader.push(bytes)
    const { header } = this.#reader
    if (header === undefined) return
    if (!this.#known) {
      this.#known = true
      startOver({ kind: this.#kind, name: nameOf(header, this.#file), state: this.#state })
      walker.value = walkIn(new RebuiltMachine(this.#chunks))
    }
    for (const item of items) {
      if (item.kind === 'event') append(item.event, item.stamp)
      else if (item.kind === 'end') this.#finish('ended')
    }
  }

  say(state: string): void {
    origin.value = { ...origin.value, state }
  }

  /** Nothing follows: says what is missing. */
  end(): void {
    const damage = this.#reader.damage()
    if (this.#reader.header === undefined)
      throw new RecordingError(damage ?? 'The recording is empty.')
    if (this.#kind !== 'recording') return
    this.#finish(damage === undefined ? 'recording' : 'incomplete')
    if (damage !== undefined) origin.value = { ...origin.value, name: damage }
    goToStart()
  }

  #finish(state: string): void {
    timeline.finish()
    version.value += 1
    this.say(state)
  }

  get #state(): string {
    return this.#kind === 'live' ? 'live' : 'recording'
  }
}

const walkIn =
  (rebuilt: RebuiltMachine): Walk =>
  (position, number, hwpt, iova) => {
    const machine = rebuilt.at(position)
    if (typeof machine === 'string') return machine
    const context = machine.contexts.get(number)
    return context === undefined
      ? 'The calls were made again, but that context did not come of it.'
      : walkTable(context, hwpt, iova)
  }

const nameOf = ({ command }: RecordingHeader, file: string): string =>
  command.length > 0 ? command.join(' ') : file

/** Opens a file that the reader of the page chose or dropped. Returns what is wrong, if anything is. */
export const openFile = async (file: File): Promise<string | undefined> => {
  const source = new RecordingSource('recording', file.name)
  try {
    for (let from = 0; from < file.size; from += PIECE) {
      const piece = await file.slice(from, from + PIECE).arrayBuffer()
      source.push(new Uint8Array(piece))
    }
    source.end()
    return undefined
  } catch (error) {
    if (error instanceof RecordingError) return error.message
    throw error
  }
}

/** Messages of the server (cli/inspector-server.ts). */
const bytesOf = (base64: string): Uint8Array =>
  Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))

/**
 * Follows the stream of a run or of a recording that the command serves. The browser connects again
 * by itself, and says how far it had come.
 */
export const follow = (address: string, kind: 'live' | 'recording'): void => {
  const source = new RecordingSource(kind, '')
  const stream = new EventSource(address)
  origin.value = { kind, name: '', state: 'connecting' }
  stream.addEventListener('message', ({ data }) => {
    if (origin.value.state === 'connecting' || origin.value.state === 'disconnected')
      source.say(kind)
    try {
      source.push(bytesOf(String(data)))
    } catch (error) {
      stream.close()
      if (!(error instanceof RecordingError)) throw error
      origin.value = { kind, name: error.message, state: 'unreadable' }
    }
  })
  stream.addEventListener('end', () => {
    stream.close()
    source.end()
    if (kind === 'live') source.say('ended')
  })
  stream.addEventListener('error', () => {
    if (origin.value.state !== 'ended') source.say('disconnected')
  })
}
