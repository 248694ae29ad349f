import { expect, test } from 'vitest'
import { createCommand } from '../../src/cli/command-line.ts'
import { normalise } from '../../src/cli/run-options.ts'

const normal = (...args: string[]) => normalise(createCommand(), args)

test('a bare --trace means standard error and leaves the program alone', () => {
  expect(normal('run', '--trace', 'prog', '--trace')).toEqual([
    'run',
    '--trace=-',
    '--',
    'prog',
    '--trace',
  ])
  expect(normal('run', '--trace=out', 'prog')).toEqual(['run', '--trace=out', '--', 'prog'])
})

test('a bare --inspect means any free port', () => {
  expect(normal('run', '--inspect', './prog')).toEqual(['run', '--inspect=0', '--', './prog'])
  expect(normal('run', '--inspect=8000', '--open', 'prog')).toEqual([
    'run',
    '--inspect=8000',
    '--open',
    '--',
    'prog',
  ])
})

test("the values of options are not taken for the program, nor the program's options for ours", () => {
  expect(normal('run', '-e', 'ioctl', '--device', 'edu', 'prog', '-e', 'x')).toEqual([
    'run',
    '-e',
    'ioctl',
    '--device',
    'edu',
    '--',
    'prog',
    '-e',
    'x',
  ])
  expect(normal('run', '--trace', '--', '--trace', '--help')).toEqual([
    'run',
    '--trace=-',
    '--',
    '--trace',
    '--help',
  ])
})

test('other commands are passed on as they are', () => {
  expect(normal('check', '--format', 'json')).toEqual(['check', '--format', 'json'])
  expect(normal()).toEqual([])
})
