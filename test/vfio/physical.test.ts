/** The worked examples with physical devices, behind a simulated Intel IOMMU. */
import { expect, test } from 'vitest'
import * as physical from '../../conformance/cases/02-08-physical.ts'
import { playOnEngine } from '../../conformance/doors/engine.ts'
import { addPciDevices } from '../../conformance/doors/pci-devices.ts'
import { problemsOf } from '../../conformance/example.ts'
import { Machine } from '../../src/engine/machine.ts'
import { Vfio } from '../../src/vfio/vfio.ts'

for (const example of Object.values(physical))
  test(example.title, () => {
    const machine = new Machine({ testInterface: true })
    addPciDevices(new Vfio(machine, { container: 'type1' }))
    const transcript = playOnEngine(`${example.script.join('\n')}\n`, machine)
    expect(problemsOf(example, transcript.trimEnd().split('\n').slice(1))).toEqual([])
  })
