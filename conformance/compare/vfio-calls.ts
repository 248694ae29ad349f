/** Random calls with VFIO groups, device files, and containers of both kinds (chapter 2). */
import { hexBytes, words } from '../example.ts'
import { ARRAY, B, PAGE, pciDevices, STRUCT, slotFd } from '../places.ts'
import { corrupted, framedBadly, memorySetUp, type RandomCall, structCall } from './call.ts'
import type { Random } from './random.ts'

/** Descriptor slots: two iommufds, two native containers, then groups, device files and cdevs. */
const IOMMUFDS = [0, 1]
const CONTAINERS = [2, 3]
const firstGroup = 10
const firstDevice = 20
const firstCdev = 30
const groups = [...new Set(pciDevices.map(({ group }) => group))]
const GROUPS = groups.map((_, i) => firstGroup + i)
const DEVICES = [0, 1, 2, 3, 4].map((i) => firstDevice + i)
const CDEVS = pciDevices.map((_, i) => firstCdev + i)
const ANY = [...IOMMUFDS, ...CONTAINERS, ...GROUPS, ...DEVICES, ...CDEVS]

export const vfioSetUp: readonly string[] = [
  ...memorySetUp,
  `mmap ${B} 0x100000 rw private`,
  `fill ${B} 0x100000 0x5a`,
  ...IOMMUFDS.map((slot) => `open ${slot} /dev/iommu 2`),
  ...CONTAINERS.map((slot) => `open ${slot} /dev/vfio/vfio 2`),
]

/** What a sequence has done so far, as far as it may have worked: later calls mostly use that. */
export class World {
  readonly open = new Set<number>([...IOMMUFDS, ...CONTAINERS])
  /** iommufds and containers that a group was put into. */
  readonly linked = new Set<number>()

  slot(random: Random, among: readonly number[]): number {
    const open = among.filter((slot) => this.open.has(slot))
    return random.pick(open.length > 0 && random.chance(93) ? open : among)
  }

  container(random: Random): number {
    const linked = [...this.linked]
    if (linked.length > 0 && random.chance(85)) return random.pick(linked)
    return random.pick([...CONTAINERS, ...CONTAINERS, ...IOMMUFDS])
  }

  opened(slot: number): void {
    this.open.add(slot)
  }
}

const line = (text: string, ...lines: string[]): RandomCall => ({ text, lines })

const openGroup = (random: Random, world: World): RandomCall => {
  const which = random.below(groups.length)
  world.opened(firstGroup + which)
  return line(
    `open group ${groups[which]}`,
    `open ${firstGroup + which} /dev/vfio/${groups[which]} 2`,
  )
}

const openCdev = (random: Random, world: World): RandomCall => {
  const which = random.below(CDEVS.length)
  world.opened(firstCdev + which)
  return line(`open vfio${which}`, `open ${firstCdev + which} /dev/vfio/devices/vfio${which} 2`)
}

const close = (random: Random, world: World): RandomCall => {
  const slot = random.pick([...GROUPS, ...DEVICES, ...DEVICES, ...CDEVS, random.pick(ANY)])
  world.open.delete(slot)
  return line(`close slot ${slot}`, `close ${slot}`)
}

const reopen = (random: Random): RandomCall => {
  const slot = random.pick([...IOMMUFDS, ...CONTAINERS])
  const path = slot < 2 ? '/dev/iommu' : '/dev/vfio/vfio'
  return line(`open ${path} in slot ${slot}`, `open ${slot} ${path} 2`)
}

const setContainer = (random: Random, world: World): RandomCall => {
  const slot = world.slot(random, GROUPS)
  const target = random.pick([...IOMMUFDS, ...CONTAINERS, ...CONTAINERS, random.pick(ANY)])
  if ([...IOMMUFDS, ...CONTAINERS].includes(target)) world.linked.add(target)
  const fd = random.chance(97) ? slotFd(target) : -1
  return line(
    `SET_CONTAINER(group slot ${slot}, slot ${target})`,
    `poke ${ARRAY} ${hexBytes(words(fd))}`,
    `ioctl ${slot} 0x3b68 ${ARRAY}`,
  )
}

const getDevice = (random: Random, world: World): RandomCall => {
  const { address, group } = random.pick(pciDevices)
  const own = firstGroup + groups.indexOf(group)
  const slot = random.chance(95) ? own : world.slot(random, GROUPS)
  const name = random.weighted([
    [20, address],
    [1, `${address} `],
    [1, `${address}x`],
    [1, `${address} vf_token=`],
    [1, 'nosuch'],
  ])
  const to = random.pick(DEVICES)
  world.opened(to)
  return line(
    `GET_DEVICE_FD(group slot ${slot}, "${name}") to slot ${to}`,
    `poke ${ARRAY} ${hexBytes(new TextEncoder().encode(`${name}\0`))}`,
    `ioctl ${slot} 0x3b6a ${ARRAY}`,
    `takereturn ${to}`,
  )
}

const status = (random: Random, world: World): RandomCall =>
  structCall('VFIO_GROUP_GET_STATUS', {}, { slot: world.slot(random, GROUPS) })

const unset = (random: Random, world: World): RandomCall => {
  const slot = world.slot(random, GROUPS)
  return line(`UNSET_CONTAINER(group slot ${slot})`, `ioctl ${slot} 0x3b69 0`)
}

/** A well-formed call most of the time. */
const call = (
  random: Random,
  name: string,
  fields: Record<string, number | bigint>,
  slot: number,
): RandomCall =>
  random.weighted<() => RandomCall>([
    [12, () => structCall(name, fields, { slot })],
    [1, () => structCall(name, corrupted(random, name, fields), { slot })],
    [1, () => framedBadly(random, name, fields, { slot })],
  ])()

const anId = (random: Random): number =>
  random.weighted([
    [20, random.below(9)],
    [1, 99],
  ])
const aPasid = (random: Random): number => random.pick([0, 0, 1, 7, 0x80000000, 0xffffffea])

const bind = (random: Random, world: World): RandomCall =>
  call(
    random,
    'VFIO_DEVICE_BIND_IOMMUFD',
    { iommufd: slotFd(random.chance(90) ? random.pick(IOMMUFDS) : random.pick(ANY)) },
    world.slot(random, random.chance(95) ? CDEVS : DEVICES),
  )

const attach = (random: Random, world: World): RandomCall =>
  call(
    random,
    'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
    random.chance(85)
      ? { pt_id: anId(random) }
      : { flags: 1, pt_id: anId(random), pasid: aPasid(random) },
    world.slot(random, random.chance(95) ? CDEVS : DEVICES),
  )

const detach = (random: Random, world: World): RandomCall =>
  call(
    random,
    'VFIO_DEVICE_DETACH_IOMMUFD_PT',
    random.chance(85) ? {} : { flags: 1, pasid: aPasid(random) },
    world.slot(random, random.chance(95) ? CDEVS : DEVICES),
  )

/** Features that the devices do not have: what is asked before the driver, and its ENOTTY. */
const feature = (random: Random, world: World): RandomCall => {
  const operation = random.below(8) << 16
  const index = random.pick([1, 2, 6, 7, 8, 9, 12, 13, 100])
  return structCall(
    'VFIO_DEVICE_FEATURE',
    { argsz: random.pick([7, 8, 16, 40]), flags: operation | index },
    { slot: world.slot(random, [...DEVICES, ...CDEVS]) },
  )
}

const anIova = (random: Random): bigint =>
  random.weighted([
    [12, BigInt(random.below(16)) * PAGE],
    [1, 0x800n],
    [1, 0xfee00000n],
    [1, 0xfedff000n],
    [1, 0xfffffffff000n],
    [1, 0x1000000000000n],
    [1, 0xfffffffffffff000n],
  ])

const aSize = (random: Random): bigint =>
  random.weighted([
    [12, BigInt(1 + random.below(5)) * PAGE],
    [1, 0n],
    [1, 0x800n],
    [1, 0xfffffffffffff000n],
  ])

const map = (random: Random, world: World): RandomCall =>
  call(
    random,
    'VFIO_IOMMU_MAP_DMA',
    {
      flags: random.pick([3, 3, 3, 3, 3, 1, 2, 0, 4, 7]),
      vaddr: random.weighted([
        [12, B + BigInt(random.below(64)) * PAGE],
        [1, B + 0x800n],
        [1, 0n],
        [1, 0xfffffffffffff000n],
      ]),
      iova: anIova(random),
      size: aSize(random),
    },
    world.container(random),
  )

const unmap = (random: Random, world: World): RandomCall =>
  call(
    random,
    'VFIO_IOMMU_UNMAP_DMA',
    random.chance(12)
      ? { flags: random.pick([2, 2, 6]) }
      : { flags: random.pick([0, 0, 0, 0, 0, 0, 4]), iova: anIova(random), size: aSize(random) },
    world.container(random),
  )

/** UNMAP_DMA with GET_DIRTY_BITMAP, or DIRTY_PAGES; the bitmap is in ARRAY. */
const dirty = (random: Random, world: World): RandomCall => {
  const linked = CONTAINERS.filter((each) => world.linked.has(each))
  const slot = random.pick(linked.length > 0 ? linked : CONTAINERS)
  const [iova, size] = [Number(anIova(random) & 0xffffffffn), Number(aSize(random) & 0xffffn)]
  const bitmap = [
    random.pick([0x1000, 0x1000, 0x1000, 0x2000]),
    0,
    random.pick([8, 8, 8, 0, 16]),
    0,
  ]
  const place = [Number(ARRAY & 0xffffffffn), Number(ARRAY >> 32n)]
  const range = [iova, 0, size, 0]
  const how = random.below(5)
  const [request, fields] =
    how < 2
      ? [0x3b75, [8, how === 0 ? 1 : 2]]
      : how === 2
        ? [0x3b72, [48, 1, ...range, ...bitmap, ...place]]
        : [0x3b75, [48, 4, ...range, ...bitmap, ...place]]
  return line(
    `${['DIRTY_PAGES START', 'DIRTY_PAGES STOP', 'UNMAP_DMA with bitmap', 'GET_BITMAP', 'GET_BITMAP'][how]}(slot ${slot}, iova=0x${iova.toString(16)}, size=0x${size.toString(16)})`,
    `fill ${ARRAY} 64 0x55`,
    `poke ${STRUCT} ${hexBytes(words(...fields))}`,
    `ioctl ${slot} ${request} ${STRUCT}`,
    `peek ${STRUCT} 48`,
    `peek ${ARRAY} 32`,
  )
}

const info = (random: Random, world: World): RandomCall => {
  const slot = world.container(random)
  const argsz = random.pick([16, 20, 24, 36, 40, 71, 72, 88, 104, 119, 120, 136, 200])
  return line(
    `VFIO_IOMMU_GET_INFO(slot ${slot}, argsz=${argsz})`,
    `fill ${STRUCT} 240 0xaa`,
    `poke ${STRUCT} ${hexBytes(words(argsz))}`,
    `ioctl ${slot} 0x3b70 ${STRUCT}`,
    `peek ${STRUCT} 240`,
  )
}

const setIommu = (random: Random, world: World): RandomCall => {
  const slot = world.container(random)
  const type = random.pick([1, 1, 3, 3, 3, 6, 8])
  return line(`SET_IOMMU(slot ${slot}, ${type})`, `ioctl ${slot} 0x3b66 ${type}`)
}

const checkExtension = (random: Random, world: World): RandomCall => {
  const slot = world.container(random)
  const extension = random.below(12)
  return line(`CHECK_EXTENSION(slot ${slot}, ${extension})`, `ioctl ${slot} 0x3b65 ${extension}`)
}

const unknown = (random: Random): RandomCall => {
  const slot = random.pick(ANY)
  const request = random.pick([0x3b64, 0x3b7f, 0x3bff, 0x3b85, 0x3b62])
  return line(
    `request 0x${request.toString(16)} on slot ${slot}`,
    `poke ${STRUCT} 00000000`,
    `ioctl ${slot} ${request} ${STRUCT}`,
  )
}

const objects = (random: Random): RandomCall => {
  const slot = random.chance(80) ? 0 : 1
  return random.weighted<() => RandomCall>([
    [3, () => structCall('IOAS_ALLOC', {}, { slot })],
    [3, () => structCall('DESTROY', { id: anId(random) }, { slot })],
    [5, () => call(random, 'VFIO_IOAS', { op: random.below(3), ioas_id: anId(random) }, slot)],
    [
      1,
      () =>
        structCall(
          'OPTION',
          {
            option_id: 1,
            op: random.below(2),
            object_id: anId(random),
            val64: BigInt(random.below(2)),
          },
          { slot },
        ),
    ],
  ])()
}

export const vfioCall = (random: Random, world: World): RandomCall =>
  random.weighted<(random: Random, world: World) => RandomCall>([
    [6, openGroup],
    [3, openCdev],
    [6, close],
    [1, reopen],
    [8, setContainer],
    [2, unset],
    [8, getDevice],
    [3, status],
    [5, bind],
    [6, attach],
    [3, detach],
    [2, feature],
    [8, map],
    [5, unmap],
    [4, dirty],
    [3, info],
    [6, setIommu],
    [2, checkExtension],
    [1, unknown],
    [6, objects],
  ])(random, world)

/** A cdev bound to the first iommufd, and an IOAS to attach it to. */
const beginWithCdev = (random: Random, world: World): RandomCall[] => {
  const which = random.below(CDEVS.length)
  const slot = firstCdev + which
  world.opened(slot)
  return [
    line(`open vfio${which}`, `open ${slot} /dev/vfio/devices/vfio${which} 2`),
    structCall('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: slotFd(0) }, { slot }),
    structCall('IOAS_ALLOC', {}),
  ]
}

/** Most sequences begin with a group in a container, and the container ready to map. */
export const beginWithGroup = (random: Random, world: World): RandomCall[] => {
  if (random.chance(15)) return []
  if (random.chance(30)) return beginWithCdev(random, world)
  const which = random.below(groups.length)
  const container = random.pick([...IOMMUFDS, ...CONTAINERS])
  world.opened(firstGroup + which)
  world.linked.add(container)
  const device = pciDevices.find(({ group }) => group === groups[which])
  const calls = [
    line(`open group ${groups[which]}`, `open ${firstGroup + which} /dev/vfio/${groups[which]} 2`),
    line(
      `SET_CONTAINER(group slot ${firstGroup + which}, slot ${container})`,
      `poke ${ARRAY} ${hexBytes(words(slotFd(container)))}`,
      `ioctl ${firstGroup + which} 0x3b68 ${ARRAY}`,
    ),
  ]
  if (random.chance(80)) {
    const type = random.pick([1, 3])
    calls.push(line(`SET_IOMMU(slot ${container}, ${type})`, `ioctl ${container} 0x3b66 ${type}`))
  }
  if (random.chance(60)) {
    world.opened(firstDevice)
    calls.push(
      line(
        `GET_DEVICE_FD(group slot ${firstGroup + which}, "${device?.address}") to slot ${firstDevice}`,
        `poke ${ARRAY} ${hexBytes(new TextEncoder().encode(`${device?.address}\0`))}`,
        `ioctl ${firstGroup + which} 0x3b6a ${ARRAY}`,
        `takereturn ${firstDevice}`,
      ),
    )
  }
  return calls
}
