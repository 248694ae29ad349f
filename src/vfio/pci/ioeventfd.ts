/** VFIO_DEVICE_IOEVENTFD: an eventfd whose signal writes a register (06 §8). */
import { hex, type UserVa } from '../../abi/brands.ts'
import { VFIO_DEVICE_IOEVENTFD, VFIO_DEVICE_IOEVENTFD_FLAGS } from '../../abi/vfio/pci.ts'
import type { Machine } from '../../engine/machine.ts'
import type { Call, HeldEventfd } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { readVfioStruct } from '../../engine/vfio-struct.ts'
import type { BarAccess } from './bar-access.ts'
import { splitOffset } from './config-space.ts'
import { holdEventfd } from './eventfd.ts'

export const IoeventfdFlags = reasonKind<{ flags: number }>({
  code: 'ioeventfd-flags',
  errno: 'EINVAL',
  cite: '06 §8',
  say: ({ flags }) => `flags ${hex(flags)} must be exactly one width: 1, 2, 4 or 8`,
  advice: 'Set flags to the width of the register alone.',
})
export const IoeventfdDescriptor = reasonKind<{ descriptor: number }>({
  code: 'ioeventfd-descriptor',
  errno: 'EINVAL',
  cite: '06 §8',
  say: ({ descriptor }) => `${descriptor} is neither a descriptor nor -1`,
  advice: 'Pass an eventfd, or -1 to remove one.',
})
export const IoeventfdPlace = reasonKind<{
  region: number
  offset: number
  width: number
  why: string
}>({
  code: 'ioeventfd-place',
  errno: 'EINVAL',
  cite: '06 §8',
  say: ({ region, offset, width, why }) =>
    `${width} bytes at ${hex(offset)} of region ${region} cannot be written by an eventfd: ${why}`,
  advice: 'Name an aligned register in a memory BAR, outside of the MSI-X table.',
})
export const IoeventfdExists = reasonKind<{ region: number; offset: number; data: bigint }>({
  code: 'ioeventfd-exists',
  errno: 'EEXIST',
  cite: '06 §8',
  say: ({ region, offset, data }) =>
    `an eventfd already writes ${hex(data)} to ${hex(offset)} of BAR${region}`,
  advice: 'Remove the earlier one first (fd -1), or keep it.',
})
export const IoeventfdUnknown = reasonKind<{ region: number; offset: number; data: bigint }>({
  code: 'ioeventfd-unknown',
  errno: 'ENODEV',
  cite: '06 §8',
  say: ({ region, offset, data }) =>
    `no eventfd writes ${hex(data)} to ${hex(offset)} of BAR${region}`,
  advice: 'Name region, offset and data as they were when it was added.',
})
export const IoeventfdTooMany = reasonKind<{ most: number }>({
  code: 'ioeventfd-too-many',
  errno: 'ENOSPC',
  cite: '06 §8',
  say: ({ most }) => `${most} eventfds of this kind exist already`,
  advice: 'Remove some, and serve the other registers by writes.',
})

const MOST = 1000
const ALL_WIDTHS = Object.values(VFIO_DEVICE_IOEVENTFD_FLAGS).reduce((all, bit) => all | bit, 0)
const LAST_BAR = 5

interface Entry {
  readonly region: number
  readonly offset: number
  readonly width: number
  readonly data: bigint
  readonly eventfd: HeldEventfd
  readonly stop: () => void
}

export class Ioeventfds {
  #entries: Entry[] = []

  set(machine: Machine, call: Call, argument: UserVa, bars: BarAccess): Result<number> {
    const args = readVfioStruct(machine, call, argument, VFIO_DEVICE_IOEVENTFD)
    if (args instanceof Refusal) return args
    const { flags, data } = args
    const width = flags
    if ((flags & ~ALL_WIDTHS) !== 0 || ![1, 2, 4, 8].includes(width))
      return refuse(IoeventfdFlags, { flags })
    const descriptor = Number(args.fd)
    if (descriptor < -1) return refuse(IoeventfdDescriptor, { descriptor })
    const { index: region, offset } = splitOffset(args.offset)
    const place = { region, offset, width }
    const bar = region <= LAST_BAR ? bars.bar(region) : undefined
    if (bar === undefined) return refuse(IoeventfdPlace, { ...place, why: 'there is no BAR there' })
    if (offset + width > bar.length)
      return refuse(IoeventfdPlace, { ...place, why: 'the BAR ends before' })
    if (bars.meetsMsixTable(region, offset, width))
      return refuse(IoeventfdPlace, { ...place, why: 'the MSI-X table is there' })
    if (width === 8) return refuse(IoeventfdPlace, { ...place, why: '8 bytes are not offered' })

    const same = this.#entries.find(
      (entry) =>
        entry.region === region &&
        entry.offset === offset &&
        entry.data === data &&
        entry.width === width,
    )
    if (same !== undefined) {
      if (descriptor !== -1) return refuse(IoeventfdExists, { region, offset, data })
      this.#remove(same)
      return 0
    }
    if (descriptor === -1) return refuse(IoeventfdUnknown, { region, offset, data })
    if (this.#entries.length >= MOST) return refuse(IoeventfdTooMany, { most: MOST })
    const eventfd = holdEventfd(call, descriptor)
    if (eventfd instanceof Refusal) return eventfd
    const stop = eventfd.onSignal(() => {
      eventfd.drain()
      bars.poke(region, offset, width === 1 ? 1 : width === 2 ? 2 : 4, data)
    })
    this.#entries.push({ ...place, data, eventfd, stop })
    return 0
  }

  #remove(entry: Entry): void {
    entry.stop()
    entry.eventfd.close()
    this.#entries = this.#entries.filter((other) => other !== entry)
  }

  /** Last close. */
  close(): void {
    for (const entry of this.#entries) this.#remove(entry)
  }
}
