/** Reads and writes of BARs through the device file (06 §4.3), and what of a BAR can be mapped (06 §4.4). */
import { byteLength, fileOffset, hex, type UserVa } from '../../abi/brands.ts'
import type { MmapRegion, MmapRequest } from '../../engine/file.ts'
import type { Call } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { addressAt, readExactly, writeExactly } from '../../engine/vfio-struct.ts'
import { REGION_SHIFT, regionStart } from './config-space.ts'
import type { AccessWidth, Bar, PciModel } from './pci-model.ts'

export const BarAbsent = reasonKind<{ region: number }>({
  code: 'bar-absent',
  errno: 'EINVAL',
  cite: '06 §4.3',
  say: ({ region }) => `region ${region} is empty`,
  advice: 'Ask VFIO_DEVICE_GET_REGION_INFO for its size first.',
})

export const BarOffsetOutside = reasonKind<{ region: number; offset: number; length: number }>({
  code: 'bar-offset-outside',
  errno: 'EINVAL',
  cite: '06 §4.3',
  say: ({ region, offset, length }) =>
    `offset ${hex(offset)} is past the ${hex(length)} bytes of BAR${region}`,
  advice: 'Stay within the size that VFIO_DEVICE_GET_REGION_INFO reports.',
})

export const MemoryDisabled = reasonKind<{ region: number; why: string }>({
  code: 'memory-disabled',
  errno: 'EIO',
  cite: '06 §4.3',
  say: ({ region, why }) => `BAR${region} does not answer: ${why}`,
  advice: 'Set bit 1 of COMMAND (memory enable) and power state D0 first.',
})

export const MmapBarNotShared = reasonKind<{ flags: number }>({
  code: 'mmap-bar-not-shared',
  errno: 'EINVAL',
  cite: '06 §4.4',
  say: ({ flags }) => `a region of a device is mapped MAP_SHARED, not with flags ${hex(flags)}`,
  advice: 'Map it with MAP_SHARED.',
})

export const MmapRegionNever = reasonKind<{ region: number }>({
  code: 'mmap-region-never',
  errno: 'EINVAL',
  cite: '06 §4.4',
  say: ({ region }) => `region ${region} cannot be mapped`,
  advice: 'Map only regions with VFIO_REGION_INFO_FLAG_MMAP; use pread and pwrite for the others.',
})

export const MmapBeyondBar = reasonKind<{ region: number; end: bigint; length: number }>({
  code: 'mmap-beyond-bar',
  errno: 'EINVAL',
  cite: '06 §4.4',
  say: ({ region, end, length }) =>
    `the mapping ends at ${hex(end)}, behind the ${hex(length)} bytes of BAR${region}`,
  advice: 'Map no more than the size that VFIO_DEVICE_GET_REGION_INFO reports.',
})

const MAP_TYPE = 0x0f
const MAP_SHARED = 0x01
const MAP_SHARED_VALIDATE = 0x03
const PAGE = 0x1000
const MSIX_ENTRY = 16

export interface BarGate {
  /** Why memory does not answer now, or undefined. */
  readonly disabled: string | undefined
}

/** A memory BAR of at least a page whose registers are memory. */
export const isMappable = (bar: Bar): boolean =>
  bar.memory !== undefined && bar.kind !== 'io' && bar.length >= PAGE

export class BarAccess {
  readonly #model: PciModel
  readonly #gate: BarGate

  constructor(model: PciModel, gate: BarGate) {
    this.#model = model
    this.#gate = gate
  }

  bar(index: number): Bar | undefined {
    return this.#model.bars.find((bar) => bar.index === index)
  }

  read(call: Call, buffer: UserVa, count: number, index: number, offset: number): Result<number> {
    const bar = this.#find(index, offset)
    if (bar instanceof Refusal) return bar
    const length = Math.min(count, bar.length - offset)
    const bytes = new Uint8Array(length)
    const view = new DataView(bytes.buffer)
    const done = this.#each(
      bar,
      offset,
      length,
      (at, width, position) => {
        store(view, position, width, this.#load(bar, at, width))
      },
      (position, size) => bytes.fill(0xff, position, position + size),
    )
    if (done instanceof Refusal) return done
    return writeExactly(call, buffer, bytes, 'a read of a BAR') ?? length
  }

  write(call: Call, buffer: UserVa, count: number, index: number, offset: number): Result<number> {
    const bar = this.#find(index, offset)
    if (bar instanceof Refusal) return bar
    const length = Math.min(count, bar.length - offset)
    let faulted: Refusal | undefined
    const done = this.#each(
      bar,
      offset,
      length,
      (at, width, position) => {
        if (faulted !== undefined) return
        const bytes = readExactly(call, addressAt(buffer, position), width, 'a write to a BAR')
        if (bytes instanceof Refusal) faulted = bytes
        else
          this.#store(bar, at, width, load(new DataView(bytes.buffer, bytes.byteOffset), 0, width))
      },
      () => {},
    )
    if (done instanceof Refusal) return done
    return faulted ?? length
  }

  /** One register write without a caller: an ioeventfd. Skipped while memory is disabled. */
  poke(index: number, offset: number, width: AccessWidth, value: bigint): void {
    const bar = this.bar(index)
    if (bar === undefined || (bar.kind !== 'io' && this.#gate.disabled !== undefined)) return
    this.#store(bar, offset, width, BigInt.asUintN(width * 8, value))
  }

  /** Does [offset, offset+length) of the BAR meet the MSI-X table? */
  meetsMsixTable(index: number, offset: number, length: number): boolean {
    const [start, end] = this.#msixWindow(index)
    return offset < end && offset + length > start
  }

  mmap(request: MmapRequest): Result<MmapRegion> {
    const index = Number(request.offset >> REGION_SHIFT)
    const type = request.flags & MAP_TYPE
    if (type !== MAP_SHARED && type !== MAP_SHARED_VALIDATE)
      return refuse(MmapBarNotShared, { flags: request.flags })
    const bar = this.bar(index)
    if (bar?.memory === undefined || !isMappable(bar))
      return refuse(MmapRegionNever, { region: index })
    const end = request.offset - regionStart(index) + request.length
    if (end > BigInt(bar.length))
      return refuse(MmapBeyondBar, { region: index, end, length: bar.length })
    return {
      offset: fileOffset(regionStart(index)),
      length: byteLength(BigInt(bar.length)),
      memory: bar.memory,
    }
  }

  #find(index: number, offset: number): Result<Bar> {
    const bar = this.bar(index)
    if (bar === undefined) return refuse(BarAbsent, { region: index })
    if (offset >= bar.length)
      return refuse(BarOffsetOutside, { region: index, offset, length: bar.length })
    return bar
  }

  /** The widest naturally aligned accesses, split at the edges of the MSI-X table window. */
  #each(
    bar: Bar,
    offset: number,
    length: number,
    access: (at: number, width: AccessWidth, position: number) => void,
    window: (position: number, size: number) => void,
  ): Result<void> {
    const [start, end] = this.#msixWindow(bar.index)
    for (let position = 0; position < length; ) {
      const at = offset + position
      if (at >= start && at < end) {
        const size = Math.min(length - position, end - at)
        window(position, size)
        position += size
        continue
      }
      const limit = at < start ? Math.min(length - position, start - at) : length - position
      const width = widest(at, limit)
      const { disabled } = this.#gate
      if (bar.kind !== 'io' && disabled !== undefined)
        return refuse(MemoryDisabled, { region: bar.index, why: disabled })
      access(at, width, position)
      position += width
    }
  }

  #msixWindow(index: number): readonly [number, number] {
    const { msix } = this.#model
    return msix?.tableBar === index
      ? [msix.tableOffset, msix.tableOffset + msix.vectors * MSIX_ENTRY]
      : [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  }

  #load(bar: Bar, at: number, width: AccessWidth): bigint {
    if (this.#model.readRegister !== undefined || bar.memory === undefined)
      return this.#model.readRegister?.(bar.index, at, width) ?? allOnes(width)
    const bytes = new Uint8Array(width)
    bar.memory.read(at, bytes)
    return load(new DataView(bytes.buffer), 0, width)
  }

  #store(bar: Bar, at: number, width: AccessWidth, value: bigint): void {
    if (this.#model.writeRegister !== undefined || bar.memory === undefined) {
      this.#model.writeRegister?.(bar.index, at, width, value)
      return
    }
    const bytes = new Uint8Array(width)
    store(new DataView(bytes.buffer), 0, width, value)
    bar.memory.write(at, bytes)
  }
}

const widest = (at: number, limit: number): AccessWidth => {
  for (const width of [8, 4, 2] as const) if (at % width === 0 && limit >= width) return width
  return 1
}

const allOnes = (width: AccessWidth): bigint => (1n << BigInt(width * 8)) - 1n

const load = (view: DataView, at: number, width: AccessWidth): bigint => {
  if (width === 8) return view.getBigUint64(at, true)
  if (width === 4) return BigInt(view.getUint32(at, true))
  return BigInt(width === 2 ? view.getUint16(at, true) : view.getUint8(at))
}

const store = (view: DataView, at: number, width: AccessWidth, value: bigint): void => {
  if (width === 8) view.setBigUint64(at, value, true)
  else if (width === 4) view.setUint32(at, Number(value), true)
  else if (width === 2) view.setUint16(at, Number(value), true)
  else view.setUint8(at, Number(value))
}
