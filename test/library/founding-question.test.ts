import { expect, test } from 'vitest'
import { byteLength, iova } from '../../src/abi/brands.ts'
import { IommufdError, type SimulatedFile, SimulatedMachine, uapi } from '../../src/index.ts'
import { ScratchCommand, ScratchRegister } from '../../src/vfio/scratch-device.ts'
import { Diagnosis } from '../../src/watch/diagnosis.ts'
import type { Finding } from '../../src/watch/finding.ts'

const AT = 0x10_0000n

const machineWithTwoDevices = (compatIoas: 'linux' | 'strict') => {
  const machine = new SimulatedMachine({
    compatIoas,
    devices: [
      { name: 'scratch0', group: 7 },
      { name: 'scratch1', group: 8 },
    ],
  })
  const findings: Finding[] = []
  const diagnosis = new Diagnosis((finding) => findings.push(finding))
  machine.on((event) => diagnosis.event(event))
  const container = machine.open()
  const joinGroup = (number: number): SimulatedFile => {
    const group = machine.openFile(`/dev/vfio/${number}`)
    const fd = new Uint8Array(Int32Array.of(container.fd).buffer)
    group.ioctl(uapi.VFIO_GROUP_SET_CONTAINER.request, fd)
    return group
  }
  const device = (group: SimulatedFile, name: string): SimulatedFile =>
    machine.fileOf(
      group.ioctl(uapi.VFIO_GROUP_GET_DEVICE_FD.request, new TextEncoder().encode(`${name}\0`)),
    )
  const map = (text: string): void => {
    const buffer = machine.memory.allocate(0x1000)
    buffer.bytes.set(new TextEncoder().encode(text))
    container.call(uapi.VFIO_IOMMU_MAP_DMA, {
      flags: 3,
      vaddr: buffer.address,
      iova: iova(AT),
      size: byteLength(0x1000n),
    })
  }
  return { machine, findings, container, joinGroup, device, map }
}

const dmaRead = (scratch: SimulatedFile): string => {
  const { offset } = scratch.call(uapi.VFIO_DEVICE_GET_REGION_INFO, { index: 0 })
  const store = (register: number, value: BigUint64Array | Uint32Array): void => {
    scratch.write(offset + BigInt(register), new Uint8Array(value.buffer))
  }
  store(ScratchRegister.DMA_IOVA, BigUint64Array.of(AT))
  store(ScratchRegister.DMA_LENGTH, Uint32Array.of(64))
  store(ScratchRegister.COMMAND, Uint32Array.of(ScratchCommand.READ))
  const bytes = scratch.read(offset + BigInt(ScratchRegister.BUFFER), 64)
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))
}

test('02 §2.5: a SET between two devices puts them on two IOASes, and the finding says so', () => {
  const { findings, container, joinGroup, device, map } = machineWithTwoDevices('linux')
  const group7 = joinGroup(7)
  expect(container.vfioIoas?.id).toBe(1)
  map('memory one')
  const device0 = device(group7, 'scratch0')
  const other = container.allocIoas()
  container.vfioIoas = other
  map('memory two')
  expect(findings).toEqual([])
  const device1 = device(joinGroup(8), 'scratch1')
  expect(dmaRead(device0)).toBe('memory one')
  expect(dmaRead(device1)).toBe('memory two')
  expect(findings).toHaveLength(1)
  expect(findings[0]?.code).toBe('container-split')
  expect(findings[0]?.sentence).toMatch(
    new RegExp(
      `device scratch0 is on IOAS 1 and device scratch1 is on IOAS ${other.id}, because call #\\d+, IOMMU_VFIO_IOAS SET to IOAS ${other.id},`,
    ),
  )
})

test('the strict policy refuses the SET, and both devices stay together', () => {
  const { findings, container, joinGroup, device, map } = machineWithTwoDevices('strict')
  const group7 = joinGroup(7)
  map('memory one')
  const device0 = device(group7, 'scratch0')
  const other = container.allocIoas()
  expect(() => {
    container.vfioIoas = other
  }).toThrow(IommufdError)
  expect(container.vfioIoas?.id).toBe(1)
  const device1 = device(joinGroup(8), 'scratch1')
  expect(dmaRead(device0)).toBe('memory one')
  expect(dmaRead(device1)).toBe('memory one')
  expect(findings).toEqual([])
})
