import { describe, expect, test } from 'vitest'
import { deviceModels, modelOf } from '../../src/cli/device-models.ts'
import { checkArgument, parseDeviceSpec, readOptions } from '../../src/cli/device-spec.ts'
import { pciAddress, wholeNumber, yesOrNo } from '../../src/cli/option-kind.ts'

test('model, argument and options', () => {
  expect(parseDeviceSpec('scratch')).toEqual({
    source: '--device scratch',
    model: 'scratch',
    options: {},
  })
  expect(parseDeviceSpec('nvme:/tmp/a b:c.img,addr=0000:01:00.0,group=7')).toMatchObject({
    model: 'nvme',
    argument: '/tmp/a b:c.img',
    options: { addr: '0000:01:00.0', group: '7' },
  })
})

test.each([
  ['', /names no model/],
  [':x', /names no model/],
  ['scratch,', /not of the form KEY=VALUE/],
  ['scratch,group', /not of the form KEY=VALUE/],
  ['scratch,group=', /not of the form KEY=VALUE/],
  ['scratch,group=1,group=2', /group is given twice/],
])('%j is refused in a sentence', (text, message) => {
  expect(() => parseDeviceSpec(text)).toThrow(message)
})

const declared = {
  group: wholeNumber('its group', { to: 100 }),
  addr: pciAddress('where it is'),
  quick: yesOrNo('whether it is quick'),
}

test('options are read by their declaration', () => {
  expect(readOptions(parseDeviceSpec('x,group=7,addr=01:00.0,quick=on'), declared)[0]).toEqual({
    group: 7,
    addr: { domain: 0, bus: 1, device: 0, fn: 0 },
    quick: true,
  })
  const fromFile = { source: 'devices[0]', model: 'x', options: { group: 7, quick: false } }
  expect(readOptions(fromFile, declared)[0]).toEqual({ group: 7, quick: false })
})

test.each([
  ['x,groop=7', 'has no option groop; it has group, addr and quick. Is it group that you mean?'],
  ['x,colour=red', 'has no option colour; it has group, addr and quick.'],
  ['x,__proto__=1', 'KEY=VALUE'],
  ['x,constructor=1', 'has no option constructor'],
  ['x,group=-1', "group is '-1', but must be a whole number from 0 to 100."],
  ['x,group=101', "group is '101', but must be a whole number from 0 to 100."],
  ['x,group=7.5', 'whole number'],
  ['x,addr=1:0.0', 'a PCI address'],
  ['x,addr=0000:00:20.0', 'a PCI address'],
  ['x,addr=0000:00:01.8', 'a PCI address'],
  ['x,quick=perhaps', 'on or off'],
])('%s is refused in a sentence', (text, message) => {
  expect(() => readOptions(parseDeviceSpec(text), declared)).toThrow(message)
})

test('an argument that a model does not take, and one that it lacks', () => {
  expect(() => checkArgument(parseDeviceSpec('edu:file'), undefined)).toThrow('takes no argument')
  const image = { form: 'IMAGE', meaning: 'an image file', required: true }
  for (const text of ['disk', 'disk:'])
    expect(() => checkArgument(parseDeviceSpec(text), image)).toThrow(
      `--device ${text}: the model disk needs an image file: disk:IMAGE.`,
    )
})

describe('the table of models', () => {
  test('names are found, and the nearest is named where one is not', () => {
    for (const { name } of deviceModels) expect(modelOf(parseDeviceSpec(name)).name).toBe(name)
    expect(() => modelOf(parseDeviceSpec('eud'))).toThrow('Is it edu that you mean?')
    expect(() => modelOf(parseDeviceSpec('rtl8139'))).toThrow(/there are edu, .*\.$/)
  })
})
