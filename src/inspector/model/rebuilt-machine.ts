/**
 * The engine of a recording as it was at a position: the recorded calls are made again (replay/), so that
 * one can look at what events do not tell, which is what stands in page tables.
 *
 * Going on from where it stands is quick; going back begins anew.
 */
import { Replay } from '../../replay/replay.ts'
import { RecordingError, type RecordingItem } from '../../watch/recording.ts'
import { RecordingReader } from '../../watch/recording-reader.ts'
import { type ContextMachine, recordedMachine, UnknownDeviceError } from './recorded-machine.ts'

export class RebuiltMachine {
  /** The bytes of the recording, which may still grow. */
  readonly #chunks: readonly Uint8Array[]
  #run: Run | undefined

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = chunks
  }

  /** The machine after the call at this position, or in a sentence why it cannot be had. */
  at(position: number): ContextMachine | string {
    if (this.#run === undefined || this.#run.position > position) this.#run = new Run(this.#chunks)
    try {
      return this.#run.goOn(position)
    } catch (error) {
      this.#run = undefined
      if (error instanceof UnknownDeviceError) return error.message
      if (error instanceof RecordingError)
        return `The calls cannot be made again: ${error.message}.`
      throw error
    }
  }
}

class Run {
  readonly #chunks: readonly Uint8Array[]
  readonly #reader = new RecordingReader({ served: true })
  readonly #replay = new Replay(() => {})
  #machine: ContextMachine | undefined
  #items: RecordingItem[] = []
  #next = 0
  #chunk = 0
  position = 0

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = chunks
  }

  goOn(position: number): ContextMachine | string {
    while (this.position < position) {
      const item = this.#take()
      if (item === undefined) break
      this.#replayed(item)
    }
    return this.#machine ?? 'Nothing has been recorded yet.'
  }

  #replayed(item: RecordingItem): void {
    const { header } = this.#reader
    if (header === undefined) return
    this.#machine ??= recordedMachine(header.machine, this.#replay)
    this.#replay.item(item, this.#machine)
    if (item.kind !== 'event' || item.event.type !== 'call') return
    this.position += 1
    // What an ioctl asked of the world, by which it is made again, stands behind its event; of the
    // other calls it stands before.
    if (item.event.operation !== 'ioctl') return
    const served = this.#peek()
    if (served?.kind !== 'served') return
    this.#next += 1
    this.#replay.item(served, this.#machine)
  }

  #take(): RecordingItem | undefined {
    const item = this.#peek()
    if (item !== undefined) this.#next += 1
    return item
  }

  #peek(): RecordingItem | undefined {
    while (this.#next >= this.#items.length) {
      const bytes = this.#chunks[this.#chunk]
      if (bytes === undefined) return undefined
      this.#chunk += 1
      this.#items = this.#reader.push(bytes)
      this.#next = 0
    }
    return this.#items[this.#next]
  }
}
