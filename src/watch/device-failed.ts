import type { Finder } from './diagnosis.ts'

/** The model of a device threw: told each time, since it answers no more until it is reset. */
export const deviceFailed = (): Finder => (event, report) => {
  if (event.type !== 'device-failed') return
  const { device, model, where, message, call } = event
  const [first = '', ...stack] = message.split('\n')
  const place = stack.find((line) => line.trim().startsWith('at '))?.trim()
  report({
    severity: 'error',
    code: 'device-failed',
    sentence: `The model ${model} of ${device} failed in ${where}: ${first}.`,
    evidence: [{ call, what: place ?? first }],
    advice:
      'It answers no more (reads give ones, writes are lost) until it is reset or opened again: mend the model.',
  })
}
