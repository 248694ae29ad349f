/** Reports; nothing here passes or fails. `npm run bench`, or `npm run bench -- engine abi`. */
import { cpus } from 'node:os'
import { benchAbi } from './abi.ts'
import { benchEngine } from './engine.ts'
import { benchGuestBoot } from './guest-boot.ts'
import { benchNvme } from './nvme.ts'
import { benchRecording } from './recording.ts'
import { print, type Report } from './report.ts'
import { benchRoundTrip } from './round-trip.ts'
import { benchStartUp } from './start-up.ts'
import { benchTranslation } from './translation.ts'

const PARTS: Readonly<Record<string, () => Report[] | Promise<Report[]>>> = {
  'round-trip': benchRoundTrip,
  recording: benchRecording,
  engine: benchEngine,
  translation: benchTranslation,
  'start-up': benchStartUp,
  nvme: benchNvme,
  'guest-boot': benchGuestBoot,
  abi: benchAbi,
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in PARTS))
if (unknown.length > 0) {
  console.error(
    `no such benchmark: ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`,
  )
  process.exit(2)
}
console.log(`${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, Node.js ${process.version}`)
for (const [name, part] of Object.entries(PARTS))
  if (wanted.length === 0 || wanted.includes(name)) (await part()).forEach(print)
