import type { Finder, FinderKind } from './finder.ts'
import type { FindingKind } from './finding.ts'

const kind: FindingKind = {
  code: 'device-failed',
  severity: 'error',
  serious: true,
  title: 'The model of a simulated device made a mistake of its own.',
  why: 'The device answers no more, so nothing that the program does with it afterwards means anything.',
}

/** The model of a device threw: told each time, since it answers no more until it is reset. */
const makeFinder = (): Finder => (event, report) => {
  if (event.type !== 'device-failed') return
  const { device, model, where, message, call } = event
  const [first = '', ...stack] = message.split('\n')
  const place = stack.find((line) => line.trim().startsWith('at '))?.trim()
  report({
    severity: kind.severity,
    code: kind.code,
    sentence: `The model ${model} of ${device} failed in ${where}: ${first}.`,
    evidence: [{ call, what: place ?? first }],
    advice:
      'It answers no more (reads give ones, writes are lost) until it is reset or opened again: mend the model.',
  })
}

export const deviceFailed: FinderKind = { finds: [kind], make: makeFinder }
