/** `replay FILE`: the calls of a recording against the machine once more. */

import type { Machine } from '../engine/machine.ts'
import { type Difference, differenceText } from '../replay/difference.ts'
import { Replay } from '../replay/replay.ts'
import { count, list } from '../watch/english.ts'
import { type RecordedMachine, RecordingError, type RecordingHeader } from '../watch/recording.ts'
import { modelOf } from './device-models.ts'
import { ExitStatus } from './exit-status.ts'
import { Output } from './output.ts'
import { RecordingInput } from './recording-input.ts'
import { simulatedMachine } from './simulated-machine.ts'
import { UsageError } from './usage-error.ts'

export interface ReplayOptions {
  readonly platform?: string
  readonly container?: 'iommufd' | 'type1'
  readonly compatIoas?: 'linux' | 'strict'
  /** As many differences are printed. */
  readonly most: number
}

/** Throws UsageError. */
export const replayCommand = async (file: string, options: ReplayOptions): Promise<number> => {
  const output = new Output()
  let printed = 0
  const report = (difference: Difference): void => {
    if (printed < options.most) output.write(`${differenceText(difference)}\n`)
    printed += 1
  }
  const input = new RecordingInput(file, { served: true })
  const replay = new Replay(report)
  let machine: Machine | undefined
  try {
    for (const item of input.items()) {
      machine ??= await machineOf(input.header, options, replay)
      replay.item(item, machine)
    }
  } catch (error) {
    if (!(error instanceof RecordingError)) throw error
    throw new UsageError(`${file} cannot be replayed: ${error.message}.`)
  }
  const { entries, different, leftOut } = replay.end()
  if (printed > options.most)
    output.write(`... and ${printed - options.most} more, which --most=${printed} prints.\n`)
  const rest =
    leftOut === 0
      ? ''
      : ` ${count(leftOut, 'entry', 'entries')} could not be made: what they are on was not there.`
  output.write(
    different === 0
      ? `No difference in ${count(entries, 'entry', 'entries')} into the machine.${rest}\n`
      : `${different} of ${count(entries, 'entry', 'entries')} into the machine ended differently.${rest}\n`,
  )
  if (replay.standIns.size > 0)
    output.write(
      `What ${list([...replay.standIns])} did was not compared, nor what programs read of devices: it is not run again.\n`,
    )
  output.flush()
  const { damage } = input
  if (damage !== undefined) process.stderr.write(`iommufd-user: ${file}: ${damage}\n`)
  return different === 0 && leftOut === 0 ? ExitStatus.OK : ExitStatus.NEGATIVE
}

/** Models that are not run again. */
const standInsOf = ({ devices }: RecordedMachine): Set<string> =>
  new Set(
    devices
      .map((spec) => modelOf(spec))
      .filter(({ hasStandIn }) => hasStandIn === true)
      .map(({ name }) => name),
  )

/** The machine of the recording, but for the options. */
const machineOf = async (
  { machine: recorded }: RecordingHeader,
  { platform, container, compatIoas }: ReplayOptions,
  replay: Replay,
): Promise<Machine> => {
  const { machine, pci } = await simulatedMachine(
    {
      ...recorded,
      platform: platform ?? recorded.platform,
      container: container ?? recorded.container,
      compatIoas: compatIoas ?? recorded.compatIoas,
    },
    replay.timers,
    replay.observer,
    { replays: true },
  )
  const models = standInsOf(recorded)
  replay.standIns = new Set(
    pci.functions.flatMap(({ pci: { model, bdf } }) => (models.has(model.name) ? [bdf] : [])),
  )
  return machine
}
