/** A recording of very many calls: each maps a page or two, with gaps, over a wide range. */
import { SimulatedMachine } from '../../../src/library/simulated-machine.ts'
import { RecordingWriter } from '../../../src/watch/recording-writer.ts'

const PAGE = 0x1000n
/** Mappings lie in clusters of so many, far apart from each other. */
const CLUSTER = 1000

export const bigRecording = (mappings: number): Uint8Array => {
  const chunks: Uint8Array[] = []
  const writer = new RecordingWriter(
    {
      iommufdUser: 'test',
      machine: {
        devices: [],
        platform: null,
        container: 'iommufd',
        compatIoas: 'linux',
        testInterface: false,
      },
      command: ['many-mappings'],
      pageSize: 4096,
      startedAt: 0,
    },
    (chunk) => chunks.push(chunk.slice()),
  )
  const machine = new SimulatedMachine()
  let at = 0
  machine.on((event) => {
    at += 1000
    writer.event(event, event.type === 'call' ? { at, took: 2000 + (at % 30_000) } : { at })
  })
  const iommufd = machine.open()
  const ioas = iommufd.allocIoas()
  const buffer = machine.memory.allocate(2 * 4096)
  for (let i = 0; i < mappings; i++) {
    const cluster = BigInt(Math.floor(i / CLUSTER))
    ioas.map({
      userVa: buffer.address,
      length: i % 3 === 0 ? 2n * PAGE : PAGE,
      iova: cluster * 0x1_0000_0000n + BigInt(i % CLUSTER) * 4n * PAGE,
    })
  }
  writer.end(at)
  const size = chunks.reduce((sum, { length }) => sum + length, 0)
  const all = new Uint8Array(size)
  let filled = 0
  for (const chunk of chunks) {
    all.set(chunk, filled)
    filled += chunk.length
  }
  return all
}
