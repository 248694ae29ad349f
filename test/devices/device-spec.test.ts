import { expect, test } from 'vitest'
import { parseDeviceSpec } from '../../src/devices/device-spec.ts'
import { addDevice } from '../../src/devices/models.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Vfio } from '../../src/vfio/vfio.ts'

test('a device is described by a model, an argument and options', () => {
  expect(parseDeviceSpec('nvme:disk.img,addr=0000:01:00.0,group=7')).toEqual({
    model: 'nvme',
    argument: 'disk.img',
    options: new Map([
      ['addr', '0000:01:00.0'],
      ['group', '7'],
    ]),
  })
})

test('devices get names, groups and nodes, or a sentence says why not', () => {
  const machine = new Machine()
  const vfio = new Vfio(machine)
  addDevice(vfio, 'scratch,name=a,group=7')
  addDevice(vfio, 'scratch')
  expect(vfio.devices().map(({ name, group }) => [name, group.number])).toEqual([
    ['a', 7],
    ['scratch0', 0],
  ])
  expect(machine.nodes().map(({ path }) => path)).toEqual([
    '/dev/iommu',
    '/dev/vfio/vfio',
    '/dev/vfio/7',
    '/dev/vfio/0',
    '/dev/vfio/devices/vfio0',
    '/dev/vfio/devices/vfio1',
  ])
  for (const [spec, problem] of [
    ['', 'it names no model'],
    ['disk', 'there is no model disk; there is scratch'],
    ['scratch:x', 'the model scratch takes nothing behind a colon'],
    ['scratch,group', '"group" is not KEY=VALUE'],
    ['scratch,size=1', 'the model scratch has no option size; it has name, group'],
    ['scratch,group=x', 'the group "x" is not a number'],
    ['scratch,group=7', 'there is a group 7 already'],
    ['scratch,name=a', 'there is a device a already'],
  ])
    expect(() => addDevice(vfio, spec ?? '')).toThrow(
      `The device "${spec}" cannot be added: ${problem}.`,
    )
})
