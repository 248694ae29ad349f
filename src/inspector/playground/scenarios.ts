/** Stories to begin with, each on a machine of its own. */
import { type PlaygroundConfig, usualConfig } from './playground-machine.ts'

export interface Scenario {
  /** Stable; the part of the address behind #. */
  readonly name: string
  readonly title: string
  /** What there is to see, in one or two sentences. */
  readonly about: string
  readonly config: PlaygroundConfig
  readonly lines: readonly string[]
}

const on = (platform: string): PlaygroundConfig => ({ ...usualConfig, platform })

/** An iommufd with 64 KiB of memory, and the PCI function bound to it as `dev`. */
const bound = [
  'iommu = open /dev/iommu',
  'device = open /dev/vfio/devices/vfio2',
  'dev = BIND_IOMMUFD iommufd=iommu',
  'ioas = IOAS_ALLOC',
  'buffer = memory 64K',
]

const container = [
  'container = open /dev/iommu',
  'group7 = open /dev/vfio/7',
  'group7: GROUP_SET_CONTAINER container',
  'SET_IOMMU VFIO_TYPE1v2_IOMMU',
  'one = memory 4K',
  'fill one "memory one"',
  'MAP_DMA flags=READ|WRITE vaddr=one iova=0x100000 size=4K',
  'GROUP_GET_DEVICE_FD scratch0',
  '# Another IOAS becomes the compat IOAS, although the first is in use.',
  'other = IOAS_ALLOC',
  'VFIO_IOAS op=SET ioas_id=other',
]

export const scenarios: readonly Scenario[] = [
  {
    name: 'founding-question',
    title: 'One container, two address spaces',
    about:
      'The question this project began with: IOMMU_VFIO_IOAS SET between two devices. The container ends up on two IOASes, and the same address means other memory for each device.',
    config: usualConfig,
    lines: [
      ...container,
      'two = memory 4K',
      'fill two "memory two"',
      'MAP_DMA flags=READ|WRITE vaddr=two iova=0x100000 size=4K',
      'group8 = open /dev/vfio/8',
      'group8: GROUP_SET_CONTAINER container',
      'GROUP_GET_DEVICE_FD scratch1',
      '# Both devices read the same address.',
      'scratch scratch0 read 0x100000 64',
      'scratch scratch1 read 0x100000 64',
    ],
  },
  {
    name: 'container-strict',
    title: 'The same, refused',
    about: 'With the strict policy such a SET is refused: VFIO’s original meaning of a container.',
    config: { ...usualConfig, compatIoas: 'strict' },
    lines: container,
  },
  {
    name: 'msi-window',
    title: 'Mapped across the MSI window',
    about:
      'On x86 0xfee00000 is where interrupts go. What is mapped there before a device is attached keeps it from being attached; afterwards it cannot be mapped.',
    config: usualConfig,
    lines: [
      ...bound,
      '# Nothing is attached: everything can be mapped.',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=64K iova=0xfee00000 flags=FIXED_IOVA|READABLE|WRITEABLE',
      'ATTACH_IOMMUFD_PT pt_id=ioas',
      'IOAS_UNMAP ioas_id=ioas iova=0xfee00000 length=64K',
      'ATTACH_IOMMUFD_PT pt_id=ioas',
      'IOAS_IOVA_RANGES ioas_id=ioas',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=64K iova=0xfee00000 flags=FIXED_IOVA|READABLE|WRITEABLE',
    ],
  },
  {
    name: 'destroy-busy',
    title: 'Why is DESTROY busy?',
    about: 'Objects count on each other. Look at the graph, and take it apart from the top.',
    config: on('intel-sm-48'),
    lines: [
      ...bound,
      'hwpt = HWPT_ALLOC flags=NEST_PARENT dev_id=dev pt_id=ioas',
      'ATTACH_IOMMUFD_PT pt_id=hwpt',
      'DESTROY id=ioas',
      'DESTROY id=hwpt',
      'DESTROY id=dev',
      'DETACH_IOMMUFD_PT',
      'DESTROY id=hwpt',
      'DESTROY id=ioas',
    ],
  },
  {
    name: 'dirty-tracking',
    title: 'Dirty pages',
    about: 'A device writes while dirty tracking is on; the bitmap tells where, and clears it.',
    config: on('intel-sm-48'),
    lines: [
      ...bound,
      'hwpt = HWPT_ALLOC flags=DIRTY_TRACKING dev_id=dev pt_id=ioas',
      'ATTACH_IOMMUFD_PT pt_id=hwpt',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=64K iova=0x100000 flags=FIXED_IOVA|READABLE|WRITEABLE',
      'HWPT_SET_DIRTY_TRACKING flags=ENABLE hwpt_id=hwpt',
      'dma write 0x102000 8K',
      'dma write 0x109000 16',
      'dma read 0x10c000 16',
      'bits = memory 4K',
      'HWPT_GET_DIRTY_BITMAP hwpt_id=hwpt iova=0x100000 length=64K page_size=4K data=bits',
      'show bits',
      'dma write 0x10f000 16',
    ],
  },
  {
    name: 'pinned',
    title: 'Unmapping what is in use',
    about:
      'An emulated device pins pages of the IOAS. Unmapping them first asks it to let go, and then succeeds.',
    config: usualConfig,
    lines: [
      ...container.slice(0, 8),
      'scratch scratch0 pin 0x100000 4K',
      'UNMAP_DMA iova=0x100000 size=4K',
      'scratch scratch0 read 0x100000 64',
    ],
  },
  {
    name: 'copies',
    title: 'The same memory in two address spaces',
    about:
      'IOAS_COPY shares pages instead of pinning them again. Choose the second IOAS beside the first to see them linked.',
    config: usualConfig,
    lines: [
      ...bound,
      'second = IOAS_ALLOC',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=32K iova=0x100000 flags=FIXED_IOVA|READABLE|WRITEABLE',
      'IOAS_MAP ioas_id=ioas user_va=buffer+32K length=16K iova=0x110000 flags=FIXED_IOVA|READABLE',
      'IOAS_COPY src_ioas_id=ioas dst_ioas_id=second length=32K src_iova=0x100000 dst_iova=0x104000 flags=FIXED_IOVA|READABLE|WRITEABLE',
      '# Writable may not become what was mapped for reading.',
      'IOAS_COPY src_ioas_id=ioas dst_ioas_id=second length=16K src_iova=0x110000 dst_iova=0x120000 flags=FIXED_IOVA|READABLE|WRITEABLE',
      'IOAS_COPY src_ioas_id=ioas dst_ioas_id=second length=16K src_iova=0x110000 dst_iova=0x120000 flags=FIXED_IOVA|READABLE',
    ],
  },
  {
    name: 'ht-hole',
    title: 'Guest memory across AMD’s HyperTransport hole',
    about:
      'AMD machines reserve 0xfd00000000 to 0xffffffffff, just below 1 TiB: large guests that are laid out in one piece fail there, and only there.',
    config: on('amd-server'),
    lines: [
      ...bound,
      'ATTACH_IOMMUFD_PT pt_id=ioas',
      'IOAS_IOVA_RANGES ioas_id=ioas',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=64K iova=0xfcffff0000 flags=FIXED_IOVA|READABLE|WRITEABLE',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=64K iova=0xfd00000000 flags=FIXED_IOVA|READABLE|WRITEABLE',
      '# It belongs above 1 TiB.',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=64K iova=0x10000000000 flags=FIXED_IOVA|READABLE|WRITEABLE',
    ],
  },
  {
    name: 'narrow',
    title: 'An address that is too wide',
    about:
      'Intel clients have 39-bit IOVAs. What a server translates is out of reach there; a wild DMA is stopped by the IOMMU.',
    config: on('intel-client-39'),
    lines: [
      ...bound,
      'ATTACH_IOMMUFD_PT pt_id=ioas',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=64K iova=0x8000000000 flags=FIXED_IOVA|READABLE|WRITEABLE',
      'IOAS_MAP ioas_id=ioas user_va=buffer length=64K iova=0x7ffff00000 flags=FIXED_IOVA|READABLE',
      'dma read 0x7ffff00000 16',
      'dma write 0x7ffff00000 16',
      'dma read 0x4000 16',
    ],
  },
]
