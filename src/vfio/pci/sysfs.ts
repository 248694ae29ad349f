/** What programs find of simulated PCI functions under /sys (06 §10), as data. */
import { barTypeBits } from './hardware-config.ts'
import type { PciFunction, PciMachine } from './pci-machine.ts'
import type { Bar } from './pci-model.ts'
import { formatAddress, type PciAddress } from './pci-slot.ts'

export type SysfsNode =
  | { readonly kind: 'text'; readonly permissions: number; content(): string | Uint8Array }
  | { readonly kind: 'link'; readonly target: string }

export interface SysfsEntry {
  readonly path: string
  readonly node: SysfsNode
}

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

const hex = (value: number | bigint, digits: number): string =>
  `0x${value.toString(16).padStart(digits, '0')}`
const upper = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, '0')

const text = (
  path: string,
  content: string | (() => string | Uint8Array),
  permissions = 0o444,
): SysfsEntry => ({
  path,
  node: {
    kind: 'text',
    permissions,
    content: typeof content === 'string' ? () => `${content}\n` : content,
  },
})
const link = (path: string, target: string): SysfsEntry => ({
  path,
  node: { kind: 'link', target },
})

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

const attributes = (fn: PciFunction): SysfsEntry[] => {
  const path = functionPath(fn)
  const { pci } = fn
  const { identity } = pci.model
  const id = (value: number): string => hex(value, 4)
  const ids = (a: number, b: number): string => `${upper(a, 4)}:${upper(b, 4)}`
  const uevent = [
    'DRIVER=vfio-pci',
    `PCI_CLASS=${upper(identity.classCode, 4)}`,
    `PCI_ID=${ids(identity.vendor, identity.device)}`,
    `PCI_SUBSYS_ID=${ids(identity.subsystemVendor, identity.subsystemDevice)}`,
    `PCI_SLOT_NAME=${pci.bdf}`,
    `MODALIAS=${modalias(fn)}`,
  ].join('\n')
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
    text(`${path}/numa_node`, '-1', 0o644),
    text(`${path}/local_cpus`, '1'),
    text(`${path}/local_cpulist`, '0'),
    text(`${path}/resource`, resource(fn)),
    text(`${path}/config`, () => pci.hardwareConfig.slice(), 0o644),
    text(`${path}/enable`, '1', 0o644),
    text(`${path}/power_state`, 'D0'),
    text(`${path}/modalias`, modalias(fn)),
    text(`${path}/uevent`, uevent, 0o644),
    text(`${path}/driver_override`, 'vfio-pci', 0o644),
    text(`${path}/msi_bus`, '1', 0o644),
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
    link(from, relative(from, '/sys/bus/pci/drivers/vfio-pci')),
    link(`${path}/subsystem`, relative(from, '/sys/bus/pci')),
    link(`${path}/iommu_group`, relative(from, group)),
    link(`/sys/bus/pci/devices/${bdf}`, `../../../${path.slice('/sys/'.length)}`),
    link(`/sys/bus/pci/drivers/vfio-pci/${bdf}`, `../../../../${path.slice('/sys/'.length)}`),
    link(`${group}/devices/${bdf}`, `../../../../${path.slice('/sys/'.length)}`),
  ]
}

const vfioDevice = (fn: PciFunction, devMajor: number): SysfsEntry[] => {
  const path = functionPath(fn)
  const name = `vfio${fn.vfio.cdevIndex}`
  const at = `${path}/vfio-dev/${name}`
  const uevent = [
    `MAJOR=${devMajor}`,
    `MINOR=${fn.vfio.cdevIndex}`,
    `DEVNAME=vfio/devices/${name}`,
  ].join('\n')
  return [
    text(`${at}/dev`, `${devMajor}:${fn.vfio.cdevIndex}`),
    text(`${at}/uevent`, uevent, 0o644),
    link(`${at}/device`, `../../../${fn.pci.bdf}`),
    link(`${at}/subsystem`, relative(`${at}/subsystem`, '/sys/class/vfio-dev')),
    link(`/sys/class/vfio-dev/${name}`, `../../${at.slice('/sys/'.length)}`),
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

/** Everything under /sys for the functions of a machine; nothing when there is none. */
export const sysfsOf = (
  machine: PciMachine,
  majors: { readonly vfioDev: number },
): SysfsEntry[] => {
  if (machine.functions.length === 0) return []
  const [first] = machine.functions
  const iommu = first?.device.instance.name ?? 'dmar0'
  const control = ['bind', 'unbind', 'new_id', 'remove_id'] as const
  return [
    ...machine.functions.flatMap((fn) => [
      ...attributes(fn),
      ...links(fn),
      ...vfioDevice(fn, majors.vfioDev),
      ...groupEntries(fn),
      link(
        `/sys/class/iommu/${iommu}/devices/${fn.pci.bdf}`,
        relative(`/sys/class/iommu/${iommu}/devices/x`, functionPath(fn)),
      ),
    ]),
    ...control.map((name) => text(`/sys/bus/pci/drivers/vfio-pci/${name}`, '', 0o200)),
    text('/sys/module/vfio/refcnt', '1'),
    text('/sys/module/vfio_pci/refcnt', '1'),
  ]
}
