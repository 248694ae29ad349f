/** The founding question through the library, for machines where no program can be run. */
import { byteLength, iova } from '../abi/brands.ts'
import { VFIO_IOMMU_MAP_DMA } from '../abi/vfio/container.ts'
import { VFIO_GROUP_GET_DEVICE_FD, VFIO_GROUP_SET_CONTAINER } from '../abi/vfio/group.ts'
import { VFIO_DEVICE_GET_REGION_INFO } from '../abi/vfio/region.ts'
import type { Iommufd } from '../library/iommufd.ts'
import { IommufdError } from '../library/iommufd-error.ts'
import type { SimulatedFile } from '../library/simulated-file.ts'
import { SimulatedMachine } from '../library/simulated-machine.ts'
import { ScratchCommand, ScratchRegister } from '../vfio/scratch-device.ts'
import { Diagnosis } from '../watch/diagnosis.ts'
import { findingBox } from './page.ts'

const AT = 0x10_0000n

export const playInLibrary = (compatIoas: 'linux' | 'strict'): void => {
  const machine = new SimulatedMachine({
    compatIoas,
    devices: [
      { name: 'scratch0', group: 7 },
      { name: 'scratch1', group: 8 },
    ],
  })
  const diagnosis = new Diagnosis((finding) => say(findingBox(finding)))
  machine.on((event) => diagnosis.event(event))

  say('1. Open /dev/iommu, and make it the container of group 7: the compat IOAS is made.')
  const container = machine.open()
  const group7 = join(machine, container, '/dev/vfio/7')
  const automatic = container.vfioIoas
  say(`   IOMMU_VFIO_IOAS GET  ->  IOAS ${automatic?.id}`)
  map(container, 'memory one')

  say('2. Open the first device: it is given that IOAS, here and now.')
  const device0 = device(machine, group7, 'scratch0')

  say('3. Make another IOAS the compat IOAS, although the first is in use.')
  const other = container.allocIoas()
  tell(`IOMMU_VFIO_IOAS SET ${other.id}`, () => {
    container.vfioIoas = other
  })
  tell('VFIO_IOMMU_MAP_DMA of other memory, at the same address', () =>
    map(container, 'memory two'),
  )

  say('4. Put group 8 into the same container and open its device.')
  const group8 = join(machine, container, '/dev/vfio/8')
  const device1 = device(machine, group8, 'scratch1')

  say('5. Let both devices read the same address by DMA.')
  say(`   scratch0 reads "${dmaRead(device0)}"`)
  say(`   scratch1 reads "${dmaRead(device1)}"`)
  for (const file of [device0, device1, group7, group8, container]) file.close()
}

const say = (line: string): void => {
  process.stdout.write(line.endsWith('\n') ? line : `${line}\n`)
}

/** Does it, and tells how it went. */
const tell = (what: string, act: () => void): void => {
  try {
    act()
    say(`   ${what}  ->  0`)
  } catch (error) {
    if (!(error instanceof IommufdError)) throw error
    say(`   ${what}  ->  ${error.code}: ${error.reason.say()}`)
  }
}

const join = (machine: SimulatedMachine, container: Iommufd, path: string): SimulatedFile => {
  const group = machine.openFile(path)
  group.ioctl(VFIO_GROUP_SET_CONTAINER.request, new Uint8Array(Int32Array.of(container.fd).buffer))
  return group
}

const device = (machine: SimulatedMachine, group: SimulatedFile, name: string): SimulatedFile => {
  const text = new TextEncoder().encode(`${name}\0`)
  return machine.fileOf(group.ioctl(VFIO_GROUP_GET_DEVICE_FD.request, text))
}

const map = (container: Iommufd, text: string): void => {
  const buffer = container.memory.allocate(0x1000)
  buffer.bytes.set(new TextEncoder().encode(text))
  container.call(VFIO_IOMMU_MAP_DMA, {
    flags: 3,
    vaddr: buffer.address,
    iova: iova(AT),
    size: byteLength(0x1000n),
  })
}

const dmaRead = (scratch: SimulatedFile): string => {
  const { offset } = scratch.call(VFIO_DEVICE_GET_REGION_INFO, { index: 0 })
  const store = (register: number, value: Uint8Array): void => {
    scratch.write(offset + BigInt(register), value)
  }
  store(ScratchRegister.DMA_IOVA, new Uint8Array(BigUint64Array.of(AT).buffer))
  store(ScratchRegister.DMA_LENGTH, new Uint8Array(Uint32Array.of(64).buffer))
  store(ScratchRegister.COMMAND, new Uint8Array(Uint32Array.of(ScratchCommand.READ).buffer))
  const bytes = scratch.read(offset + BigInt(ScratchRegister.BUFFER), 64)
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))
}
