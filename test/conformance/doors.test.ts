/**
 * One behaviour test, three doors: every worked example is played by the engine in this process, by a
 * C and a Python program under `iommufd-user run`, and by a real Linux.
 */
import { describe, expect, it } from 'vitest'
import { allExamples } from '../../conformance/cases/all.ts'
import { playOnEngine } from '../../conformance/doors/engine.ts'
import { playInRealKernel, realKernelMissing } from '../../conformance/doors/real-kernel.ts'
import {
  type Client,
  cClient,
  playWithClient,
  pythonClient,
  runMissing,
} from '../../conformance/doors/under-run.ts'
import { type Example, type Need, problemsOf } from '../../conformance/example.ts'
import { splitTranscript } from '../../conformance/transcript.ts'
import { hostLacks } from './host-lacks.ts'

const scriptOf = (examples: readonly Example[]): string =>
  `${examples.flatMap(({ script }) => script).join('\n')}\n`

/** All examples in one go, played when the first test of the door runs. */
const door = (
  name: string,
  missing: string | undefined,
  play: (script: string) => Promise<string>,
  lacks: readonly Need[] = [],
  notYet?: RegExp,
): void => {
  const possible = allExamples.filter(
    ({ needs, title }) => !needs.some((need) => lacks.includes(need)) && !notYet?.test(title),
  )
  describe.skipIf(missing !== undefined)(
    missing === undefined ? name : `${name}: ${missing}`,
    () => {
      let transcripts: Promise<Map<string, readonly string[]>> | undefined
      for (const example of allExamples)
        it.skipIf(!possible.includes(example))(example.title, async () => {
          transcripts ??= play(scriptOf(possible)).then(splitTranscript)
          expect(problemsOf(example, (await transcripts).get(example.title))).toEqual([])
        })
    },
  )
}

door('the engine in-process', undefined, async (script) => playOnEngine(script), ['vfio-devices'])

const underRun = (name: string, client: Client | undefined): void =>
  door(
    `a ${name} client under run`,
    client === undefined ? `no ${name} here` : runMissing(),
    (script) => (client === undefined ? Promise.resolve('') : playWithClient(script, client)),
    hostLacks(),
  )

underRun('C', cClient())
underRun('Python', pythonClient())

const kernelMissing = realKernelMissing()
if (process.env['LINUX_ORACLE'] === '1' && kernelMissing !== undefined)
  throw new Error(`LINUX_ORACLE=1, but ${kernelMissing}`)
door('a real Linux', kernelMissing, playInRealKernel, ['scratch-devices'])
