/**
 * The console blocks of docs/tour.md are what the commands in them print. `TOUR=write npx vitest run
 * test/cli/tour.test.ts` brings them up to date.
 */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { packageRoot } from '../../src/host/built-file.ts'
import { COMPILER, RUNS, unless } from '../host/programs.ts'
import { binary } from './program.ts'

const file = join(packageRoot(), 'docs', 'tour.md')
const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-tour-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** What differs from run to run, in the order in which it comes. */
const normal = (text: string): string =>
  text
    .replace(/#\d+/g, '#N')
    .replace(/\b(process|thread) \d+/g, '$1 N')
    .replace(/0x7[0-9a-f]{11}/g, '0x7ADDRESS')
    // Where a compiler puts things, if the machine can tell.
    .replace(/\b(process N), \S+ of planted-mistakes/g, '$1')
    .replace(/looked at \d+ calls/g, 'looked at N calls')

const shell = (command: string): string => {
  const path = [directory, dirname(process.execPath), process.env['PATH']].join(delimiter)
  const { stdout, error } = spawnSync('sh', ['-c', `exec 2>&1; ${command}`], {
    cwd: directory,
    env: { ...process.env, PATH: path, NO_COLOR: '1' },
    encoding: 'utf8',
  })
  if (error !== undefined) throw error
  return stdout
}

/** A block as it is, and as its commands say that it should be. */
const blocks = (text: string) =>
  [...text.matchAll(/^```console\n(.*?)^```$/gms)].map(([, block = '']) => ({
    written: block,
    commands: block
      .split('\n')
      .filter((line) => line.startsWith('$ '))
      .map((line) => line.slice(2)),
  }))

describe.skipIf(!RUNS[0] || !COMPILER[0])(`the tour${unless(RUNS, COMPILER)}`, () => {
  test('its outputs are real', () => {
    symlinkSync(binary, join(directory, 'iommufd-user'))
    const source = 'planted-mistakes.c'
    copyFileSync(join(packageRoot(), 'examples', source), join(directory, source))
    let text = readFileSync(file, 'utf8')
    for (const { written, commands } of blocks(text)) {
      const real = commands.map((command) => `$ ${command}\n${shell(command)}`).join('')
      if (process.env['TOUR'] === 'write') text = text.replace(written, () => real)
      else expect(normal(real)).toBe(normal(written))
    }
    if (process.env['TOUR'] === 'write') writeFileSync(file, text)
  })
})
