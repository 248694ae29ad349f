/** run --inspect and inspect FILE with a real program and a real browser. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/host/built-file.ts'
import { binary } from '../cli/program.ts'
import { PYTHON, RUNS, unless } from '../host/programs.ts'
import { CHROMIUM, launch, open, screenshot } from './support/browser.ts'

/** Makes an IOAS for each line that it reads. */
const PROGRAM = `
import fcntl, os, sys
fd = os.open('/dev/iommu', os.O_RDWR)
for line in sys.stdin:
    fcntl.ioctl(fd, 0x3b81, bytearray(b'\\x0c' + bytes(11)))
`

const needs = [RUNS, PYTHON, CHROMIUM] as const
const able = needs.every(([there]) => there)

/** The address that the command prints on standard error. */
const addressFrom = async (child: ChildProcess): Promise<string> => {
  let text = ''
  for await (const part of child.stderr ?? []) {
    text += String(part)
    const found = /http:\S+/.exec(text)
    if (found !== null) return found[0]
  }
  throw new Error(`no address in: ${text}`)
}

describe.skipIf(!able)(`live${unless(...needs)}`, () => {
  let browser: Browser
  const directory = mkdtempSync(join(tmpdir(), 'inspector-live-'))

  beforeAll(async () => {
    browser = await launch()
  })

  afterAll(async () => {
    await browser?.close()
    rmSync(directory, { recursive: true, force: true })
  })

  it('run --inspect: the page follows the program call by call, to its end', async () => {
    const child = spawn(binary, ['run', '--inspect', '--', 'python3', '-c', PROGRAM])
    const url = await addressFrom(child)
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/)
    const { page, problems } = await open(browser, url)
    const call = async (number: number): Promise<void> => {
      child.stdin.write('call\n')
      await page.getByText(`${number} of ${number}`).waitFor()
    }
    await page.getByRole('status').getByText('live').waitFor()
    // The first is the open.
    await call(2)
    await call(3)
    await page.getByRole('tab', { name: 'Objects' }).click()
    await page
      .getByRole('button', { name: /^ioas 2,/ })
      .first()
      .waitFor()
    // Who looks at an earlier moment is not carried off by what happens.
    await page.getByRole('slider').fill('2')
    child.stdin.write('call\n')
    await page.getByText('2 of 4').waitFor()
    await screenshot(page, 'live')
    child.stdin.end()
    expect(await once(child, 'exit')).toEqual([0, null])
    await page.getByRole('status').getByText('ended').waitFor()
    expect(problems).toEqual([])
  })

  it('inspect FILE: page tables of a recorded run, by making its calls again', async () => {
    const file = join(directory, 'edu')
    const edu = join(packageRoot(), 'examples/edu.py')
    const run = spawn(binary, ['run', '--device', 'edu', '--record', file, '--', 'python3', edu])
    expect(await once(run, 'exit')).toEqual([0, null])
    const served = spawn(binary, ['inspect', file])
    const { page, problems } = await open(browser, await addressFrom(served))
    await page.getByRole('status').getByText('recording').waitFor()
    await page.getByRole('tab', { name: 'Page table' }).click()
    await page.getByText('0x100000 translates to physical').waitFor()
    await page.getByText('vtd-second-stage').waitFor()
    expect(problems).toEqual([])
    served.kill('SIGINT')
    expect(await once(served, 'exit')).toEqual([0, null])
  })
})
