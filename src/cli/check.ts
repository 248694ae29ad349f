import { checkMachine, type Finding } from '../host/check-machine.ts'
import { startRun } from '../host/run.ts'
import { ExitStatus } from './exit-status.ts'
import { wrap } from './page.ts'
import type { RunConfig } from './run-config.ts'
import { SUPERVISOR } from './supervisor.ts'

/** `check`: prints what was found; returns the exit status. */
export const checkCommand = async (format: 'text' | 'json'): Promise<number> => {
  const machine = await checkMachine()
  const findings = isSufficient(machine) ? [...machine, await trial()] : machine
  const sufficient = isSufficient(findings)
  process.stdout.write(
    format === 'json'
      ? `${JSON.stringify({ ok: sufficient, findings }, undefined, 2)}\n`
      : `${findings.map(findingText).join('')}\n${conclusion(sufficient)}\n`,
  )
  return sufficient ? ExitStatus.OK : ExitStatus.NEGATIVE
}

/** What is missing here, for `run` that could not start; nothing where all seems to be there. */
export const whatIsMissing = async (): Promise<string> =>
  (await checkMachine())
    .filter(({ status }) => status === 'missing')
    .map(findingText)
    .join('')

const isSufficient = (findings: readonly Finding[]): boolean =>
  findings.every(({ status }) => status !== 'missing')

const conclusion = (sufficient: boolean): string =>
  sufficient
    ? 'Programs can be run here: iommufd-user run -- PROGRAM'
    : 'Programs cannot be run here. The library and the other commands work.'

const marks = { ok: 'ok     ', note: 'note   ', missing: 'MISSING' } as const
const WIDTH = 88

const findingText = ({ status, found, advice }: Finding): string =>
  [
    ...wrap(found, WIDTH).map((line, i) => `${i === 0 ? marks[status] : '       '} ${line}\n`),
    ...(advice === undefined ? [] : wrap(`→ ${advice}`, WIDTH).map((line) => `        ${line}\n`)),
  ].join('')

const config: RunConfig = {
  devices: [],
  container: 'iommufd',
  compatIoas: 'linux',
  testInterface: false,
  platform: null,
  trace: null,
  filters: [],
  record: null,
  inspected: false,
  command: [],
  failNth: null,
  findings: 'never',
  doctor: null,
}

/** The whole thing at once: a program that opens /dev/iommu. */
const trial = async (): Promise<Finding> => {
  const program = "require('node:fs').openSync('/dev/iommu', 'r+')"
  const end = await startRun({
    command: [process.execPath, '-e', program],
    supervisor: SUPERVISOR,
    config,
  })
  if (end.type === 'exited' && end.status === 0)
    return { id: 'trial', status: 'ok', found: 'A program was run and opened /dev/iommu.' }
  const how =
    end.type === 'failed'
      ? end.message
      : end.type === 'killed'
        ? `It was killed by ${end.signal}.`
        : 'It could not open /dev/iommu.'
  return {
    id: 'trial',
    status: 'missing',
    found: `A program was run for trial, without success. ${how}`,
    advice: 'Please report this, together with the output of iommufd-user check --format=json.',
  }
}
