/** What `run` adds to a program that does nothing. */
import { spawnSync } from 'node:child_process'
import { command } from './paths.ts'
import { median, type Report, ratio, time } from './report.ts'

const ROUNDS = 15

const seconds = (program: string, args: readonly string[]): number | undefined => {
  const start = process.hrtime.bigint()
  const { status } = spawnSync(program, args, { stdio: 'ignore' })
  const took = Number(process.hrtime.bigint() - start)
  return status === 0 ? took : undefined
}

const TITLE = 'Start-up: run -- true'

export const benchStartUp = (): Report[] => {
  const bare: number[] = []
  const under: number[] = []
  const node: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const took = seconds(command, ['run', '--', 'true'])
    if (took === undefined)
      return [{ title: TITLE, skipped: '`iommufd-user run -- true` fails on this machine' }]
    under.push(took)
    bare.push(seconds('true', []) ?? Number.NaN)
    node.push(seconds(process.execPath, ['-e', '0']) ?? Number.NaN)
  }
  return [
    {
      title: TITLE,
      figures: [
        {
          name: 'added by run',
          headline: time(median(under) - median(bare)),
          aim: '(aim: < 250 ms)',
          detail: `${ratio(median(under) / median(node))} of node -e 0; true ${time(median(bare))}, run -- true ${time(median(under))}, node -e 0 ${time(median(node))}`,
        },
      ],
    },
  ]
}
