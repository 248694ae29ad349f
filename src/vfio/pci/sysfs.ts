/** What programs find of simulated PCI functions under /sys (06 §10), as data. */
import { hex } from '../../abi/brands.ts'
import { barTypeBits } from './hardware-config.ts'
import type { PciFunction } from './pci-function.ts'
import type { PciMachine } from './pci-machine.ts'
import type { Bar } from './pci-model.ts'
import { formatAddress, type PciAddress } from './pci-slot.ts'
import { driverControls, functionControls } from './sysfs-controls.ts'
import { link, type SysfsEntry, text } from './sysfs-entry.ts'

/**
 * Directories in which only simulated devices are shown. A function of the real machine can have the same
 * address as a simulated one, which then stands in its place.
 */
export const sysfsOpaque = (machine: PciMachine): readonly string[] =>
  machine.functions.length === 0
    ? []
    : [
        '/sys/bus/pci/devices',
        '/sys/kernel/iommu_groups',
        '/sys/class/iommu',
        ...machine.functions.flatMap((fn) =>
          fn.rootPort === undefined ? [functionPath(fn)] : [rootPortPath(fn, fn.rootPort)],
        ),
      ]

const upper = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, '0')

/** `/sys/devices/pci0000:00/0000:00:1c.0/0000:01:00.0`. */
export const functionPath = (fn: PciFunction): string =>
  fn.rootPort === undefined
    ? `${rootPath(fn)}/${fn.pci.bdf}`
    : `${rootPortPath(fn, fn.rootPort)}/${fn.pci.bdf}`

const rootPath = ({ pci }: PciFunction): string =>
  `/sys/devices/pci${pci.address.domain.toString(16).padStart(4, '0')}:00`
const rootPortPath = (fn: PciFunction, rootPort: PciAddress): string =>
  `${rootPath(fn)}/${formatAddress(rootPort)}`

/** `../` for each directory between /sys and the one that holds the link. */
const up = (path: string): string => '../'.repeat(path.split('/').length - 3)
const relative = (from: string, to: string): string => `${up(from)}${to.slice('/sys/'.length)}`

const IORESOURCE_IO = 0x40101
const IORESOURCE_MEMORY = 0x40200
const IORESOURCE_PREFETCH = 0x2000
const IORESOURCE_MEM_64 = 0x100000
const RESOURCE_LINES = 13

const resourceFlags = (bar: Bar): number =>
  bar.kind === 'io'
    ? IORESOURCE_IO
    : IORESOURCE_MEMORY +
      (bar.prefetchable === true ? IORESOURCE_PREFETCH : 0) +
      (bar.kind === 'memory64' ? IORESOURCE_MEM_64 : 0) +
      barTypeBits(bar)

const resource = ({ pci }: PciFunction): string => {
  const lines = Array.from({ length: RESOURCE_LINES }, (_, index) => {
    const bar = pci.model.bars.find((candidate) => candidate.index === index)
    const start = pci.barAddresses.get(index) ?? 0
    const values =
      bar === undefined ? [0, 0, 0] : [start, start + bar.length - 1, resourceFlags(bar)]
    return values.map((value) => hex(value, 16)).join(' ')
  })
  return lines.join('\n')
}

const modalias = ({ pci }: PciFunction): string => {
  const { vendor, device, subsystemVendor, subsystemDevice, classCode } = pci.model.identity
  return (
    `pci:v${upper(vendor, 8)}d${upper(device, 8)}sv${upper(subsystemVendor, 8)}` +
    `sd${upper(subsystemDevice, 8)}bc${upper(classCode >> 16, 2)}` +
    `sc${upper((classCode >> 8) & 0xff, 2)}i${upper(classCode & 0xff, 2)}`
  )
}

const uevent = (fn: PciFunction): string => {
  const { identity } = fn.pci.model
  const ids = (a: number, b: number): string => `${upper(a, 4)}:${upper(b, 4)}`
  return [
    ...(fn.vfio === undefined ? [] : ['DRIVER=vfio-pci']),
    `PCI_CLASS=${upper(identity.classCode, 4)}`,
    `PCI_ID=${ids(identity.vendor, identity.device)}`,
    `PCI_SUBSYS_ID=${ids(identity.subsystemVendor, identity.subsystemDevice)}`,
    `PCI_SLOT_NAME=${fn.bdf}`,
    `MODALIAS=${modalias(fn)}`,
  ].join('\n')
}

const attributes = (fn: PciFunction): SysfsEntry[] => {
  const path = functionPath(fn)
  const { pci } = fn
  const { identity } = pci.model
  const id = (value: number): string => hex(value, 4)
  const express = [
    ['current_link_speed', '8.0 GT/s PCIe'],
    ['max_link_speed', '8.0 GT/s PCIe'],
    ['current_link_width', '4'],
    ['max_link_width', '4'],
  ] as const
  return [
    text(`${path}/vendor`, id(identity.vendor)),
    text(`${path}/device`, id(identity.device)),
    text(`${path}/subsystem_vendor`, id(identity.subsystemVendor)),
    text(`${path}/subsystem_device`, id(identity.subsystemDevice)),
    text(`${path}/class`, hex(identity.classCode, 6)),
    text(`${path}/revision`, hex(identity.revision, 2)),
    text(`${path}/irq`, '0'),
    text(`${path}/local_cpus`, '1'),
    text(`${path}/local_cpulist`, '0'),
    text(`${path}/resource`, resource(fn)),
    text(`${path}/config`, () => pci.hardwareConfig.slice(), 0o644),
    text(`${path}/power_state`, 'D0'),
    text(`${path}/modalias`, modalias(fn)),
    text(`${path}/ari_enabled`, '0'),
    text(`${path}/dma_mask_bits`, '32'),
    text(`${path}/consistent_dma_mask_bits`, '32'),
    ...(pci.model.resettable
      ? [text(`${path}/reset_method`, identity.configSize === 4096 ? 'flr bus' : 'bus', 0o644)]
      : []),
    ...(identity.configSize === 4096
      ? express.map(([name, value]) => text(`${path}/${name}`, value))
      : []),
  ]
}

const links = (fn: PciFunction): SysfsEntry[] => {
  const path = functionPath(fn)
  const { bdf } = fn.pci
  const group = `/sys/kernel/iommu_groups/${fn.device.group.number}`
  const from = `${path}/driver`
  return [
    ...(fn.vfio === undefined
      ? []
      : [
          link(from, relative(from, '/sys/bus/pci/drivers/vfio-pci')),
          link(`/sys/bus/pci/drivers/vfio-pci/${bdf}`, `../../../../${path.slice('/sys/'.length)}`),
        ]),
    link(`${path}/subsystem`, relative(from, '/sys/bus/pci')),
    link(`${path}/iommu_group`, relative(from, group)),
    link(`${path}/iommu`, relative(from, iommuPath(fn))),
    link(`/sys/bus/pci/devices/${bdf}`, `../../../${path.slice('/sys/'.length)}`),
    link(`${group}/devices/${bdf}`, `../../../../${path.slice('/sys/'.length)}`),
    link(`${iommuPath(fn)}/devices/${bdf}`, relative(`${iommuPath(fn)}/devices/x`, path)),
  ]
}

/** Of a device that is made from a device number: what udev and its like look at. */
const numbered = (at: string, number: readonly [major: number, minor: number], name: string) => [
  text(`${at}/dev`, number.join(':')),
  text(
    `${at}/uevent`,
    [`MAJOR=${number[0]}`, `MINOR=${number[1]}`, `DEVNAME=${name}`].join('\n'),
    0o644,
  ),
]

const vfioDevice = (fn: PciFunction, major: number): SysfsEntry[] => {
  const index = fn.vfio?.cdevIndex
  if (index === undefined) return []
  const name = `vfio${index}`
  const at = `${functionPath(fn)}/vfio-dev/${name}`
  return [
    ...numbered(at, [major, index], `vfio/devices/${name}`),
    link(`${at}/device`, `../../../${fn.bdf}`),
    link(`${at}/subsystem`, relative(`${at}/subsystem`, '/sys/class/vfio-dev')),
    link(`/sys/class/vfio-dev/${name}`, `../../${at.slice('/sys/'.length)}`),
  ]
}

const vfioGroup = ({ vfio }: PciMachine, fn: PciFunction, major: number): SysfsEntry[] => {
  const { number } = fn.device.group
  const minor = fn.vfio === undefined ? undefined : vfio.minorOf(number)
  if (minor === undefined) return []
  const at = `/sys/devices/virtual/vfio/${number}`
  return [
    ...numbered(at, [major, minor], `vfio/${number}`),
    link(`${at}/subsystem`, '../../../../class/vfio'),
    link(`/sys/class/vfio/${number}`, `../../devices/virtual/vfio/${number}`),
  ]
}

const iommuPath = (fn: PciFunction): string =>
  `/sys/devices/virtual/iommu/${fn.device.instance.name}`

/** The unit that the functions stand behind (06 §10.6). */
const iommuUnit = (fn: PciFunction): SysfsEntry[] => {
  const { name, attributes: shown = {} } = fn.device.instance
  return [
    link(`/sys/class/iommu/${name}`, `../../devices/virtual/iommu/${name}`),
    ...Object.entries(shown).map(([file, value]) => text(`${iommuPath(fn)}/${file}`, value)),
  ]
}

const groupEntries = (fn: PciFunction): SysfsEntry[] => {
  const group = `/sys/kernel/iommu_groups/${fn.device.group.number}`
  const regions = (): string =>
    fn.device.instance.driver
      .reservedRegions(fn.device)
      .map(({ start, length, kind }) => {
        const word = kind === 'sw-msi' ? 'msi' : kind
        return `${hex(start, 16)} ${hex(start + length - 1n, 16)} ${word}\n`
      })
      .join('')
  return [
    text(`${group}/type`, 'DMA-FQ'),
    {
      path: `${group}/reserved_regions`,
      node: { kind: 'text', permissions: 0o444, content: regions },
    },
  ]
}

/** Everything under /sys for the functions of a machine as they are now; nothing when there is none. */
export const sysfsOf = (
  machine: PciMachine,
  majors: { readonly vfio: number; readonly vfioDev: number },
): SysfsEntry[] => {
  const [first] = machine.functions
  if (first === undefined) return []
  return [
    ...machine.functions.flatMap((fn) => [
      ...attributes(fn),
      ...functionControls(machine.driver, fn, functionPath(fn), uevent(fn)),
      ...links(fn),
      ...vfioDevice(fn, majors.vfioDev),
      ...vfioGroup(machine, fn, majors.vfio),
      ...groupEntries(fn),
    ]),
    ...iommuUnit(first),
    ...driverControls(machine.driver),
    text('/sys/module/vfio/refcnt', '1'),
    text('/sys/module/vfio/parameters/enable_unsafe_noiommu_mode', 'N', 0o644),
    text('/sys/module/vfio_iommu_type1/refcnt', '1'),
    text('/sys/module/vfio_pci/refcnt', '1'),
    ...['disable_denylist', 'disable_idle_d3', 'nointxmask'].map((name) =>
      text(`/sys/module/vfio_pci/parameters/${name}`, 'N'),
    ),
  ]
}
