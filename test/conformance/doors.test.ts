/**
 * One behaviour test, three doors: every worked example is played by the engine in this process, by a
 * C and a Python program under `iommufd-user run`, and by a real Linux.
 */
import { describe, expect, it } from 'vitest'
import { allExamples } from '../../conformance/cases/all.ts'
import { kernelLikeMachine, playOnEngine } from '../../conformance/doors/engine.ts'
import { playInRealKernel, realKernelMissing } from '../../conformance/doors/real-kernel.ts'
import {
  type Client,
  cClient,
  physicalOptions,
  playWithClient,
  pythonClient,
  runMissing,
  runPrefix,
} from '../../conformance/doors/under-run.ts'
import { type Example, type Need, problemsOf } from '../../conformance/example.ts'
import { splitTranscript } from '../../conformance/transcript.ts'
import { hostLacks } from './host-lacks.ts'

const scriptOf = (examples: readonly Example[]): string =>
  `${examples.flatMap(({ script }) => script).join('\n')}\n`

type Play = (script: string) => Promise<string>

/** Examples with physical devices have a machine of their own, with VFIO's own container. */
const onTwoMachines = async (
  examples: readonly Example[],
  usual: Play,
  withPhysical: Play,
): Promise<string> => {
  const physical = ({ needs }: Example): boolean => needs.includes('vfio-devices')
  const parts = [
    usual(scriptOf(examples.filter((example) => !physical(example)))),
    withPhysical(scriptOf(examples.filter(physical))),
  ]
  return (await Promise.all(parts)).join('')
}

/** All examples in one go, played when the first test of the door runs. */
const door = (
  name: string,
  missing: string | undefined,
  play: (examples: readonly Example[]) => Promise<string>,
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
          transcripts ??= play(possible).then(splitTranscript)
          expect(problemsOf(example, (await transcripts).get(example.title))).toEqual([])
        })
    },
  )
}

door('the engine in-process', undefined, (examples) =>
  onTwoMachines(
    examples,
    async (script) => playOnEngine(script),
    async (script) => playOnEngine(script, kernelLikeMachine()),
  ),
)

const underRun = (name: string, client: Client | undefined): void =>
  door(
    `a ${name} client under run`,
    client === undefined ? `no ${name} here` : runMissing(),
    async (examples) =>
      client === undefined
        ? ''
        : onTwoMachines(
            examples,
            (script) => playWithClient(script, client),
            (script) => playWithClient(script, client, runPrefix(physicalOptions)),
          ),
    hostLacks(),
  )

underRun('C', cClient())
underRun('Python', pythonClient())

const kernelMissing = realKernelMissing()
if (process.env['LINUX_ORACLE'] === '1' && kernelMissing !== undefined)
  throw new Error(`LINUX_ORACLE=1, but ${kernelMissing}`)
door('a real Linux', kernelMissing, (examples) => playInRealKernel(scriptOf(examples)), [
  'scratch-devices',
])
