import { expect, test } from 'vitest'
import { expectOnly, numberOption, parseDeviceSpec } from '../../src/cli/device-spec.ts'

test('model, argument and options', () => {
  expect(parseDeviceSpec('scratch')).toMatchObject({ model: 'scratch', argument: undefined })
  const spec = parseDeviceSpec('nvme:/tmp/a b:c.img,addr=0000:01:00.0,group=7')
  expect(spec.model).toBe('nvme')
  expect(spec.argument).toBe('/tmp/a b:c.img')
  expect([...spec.options]).toEqual([
    ['addr', '0000:01:00.0'],
    ['group', '7'],
  ])
  expect(numberOption(spec, 'group')).toBe(7)
  expect(numberOption(spec, 'other')).toBeUndefined()
})

test.each([
  ['', /names no model/],
  [':x', /names no model/],
  ['scratch,', /not of the form KEY=VALUE/],
  ['scratch,group', /not of the form KEY=VALUE/],
  ['scratch,group=', /not of the form KEY=VALUE/],
  ['scratch,group=1,group=2', /gives group twice/],
])('%j is refused in a sentence', (text, message) => {
  expect(() => parseDeviceSpec(text)).toThrow(message)
})

test('what a model does not take is refused', () => {
  expect(() => expectOnly(parseDeviceSpec('scratch,color=red'), ['name', 'group'])).toThrow(
    'has no option color; it has name and group.',
  )
  expect(() => expectOnly(parseDeviceSpec('scratch:file'), [])).toThrow('takes no argument')
  expect(() => numberOption(parseDeviceSpec('scratch,group=-1'), 'group')).toThrow('whole number')
})
