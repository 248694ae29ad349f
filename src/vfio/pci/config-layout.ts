/**
 * What each byte of configuration space belongs to, and which of its bits the user sees virtual and may
 * change (06 §5.2, §5.5, §5.6), as data.
 */
import { CapabilityId, type HardwareConfig, PciOffset } from './hardware-config.ts'

/** A visible capability, or the header: accesses are cut at its edges (06 §5.1). */
export interface ConfigPart {
  readonly id: number | 'header'
  readonly start: number
  readonly length: number
  /** No write changes anything: the caller's buffer is not even read. */
  readonly readOnly: boolean
}

export interface ConfigLayout {
  /** The part that each byte belongs to; undefined: to nothing, raw hardware. */
  readonly parts: readonly (ConfigPart | undefined)[]
  /** Bits that come from the virtual copy when read, and go there when written. */
  readonly virtual: Uint8Array
  /** Bits that the user can change, virtual or not. */
  readonly writable: Uint8Array
  readonly capabilities: readonly ConfigPart[]
}

/** Bytes treated as the capability; undefined: it is hidden. */
const capabilityLength = (hw: HardwareConfig, id: number, at: number): number | undefined => {
  const control = hw.view.getUint16(at + 2, true)
  switch (id) {
    case CapabilityId.PM:
    case CapabilityId.VPD:
      return 8
    case 0x02:
    case CapabilityId.MSIX:
      return 12
    case CapabilityId.MSI: {
      const is64 = (control & 0x80) !== 0
      const masks = (control & 0x100) !== 0
      return is64 ? (masks ? 24 : 14) : masks ? 20 : 10
    }
    case 0x07:
      return 8
    case 0x08:
      return 28
    case CapabilityId.VENDOR:
      return (control & 0xff) === 0 ? undefined : control & 0xff
    case CapabilityId.EXPRESS: {
      const integrated = ((control >> 4) & 0xf) === 9
      return (control & 0xf) === 1 ? (integrated ? 0x0c : 20) : integrated ? 0x2c : 0x34
    }
    case CapabilityId.SATA:
      return 8
    case CapabilityId.AF:
      return 6
    default:
      return undefined
  }
}

/** [offset, length, virtual bits, writable bits] of the type 0 header; what is not named is hardware, read-only. */
const HEADER_FIELDS: readonly (readonly [number, number, number, number])[] = [
  [PciOffset.VENDOR, 4, 0xff, 0],
  [PciOffset.COMMAND, 1, 0, 0xff],
  // Bit 10, INTx disable.
  [PciOffset.COMMAND + 1, 1, 0x04, 0xff],
  // Bit 4, capability list.
  [PciOffset.STATUS, 1, 0x10, 0],
  [PciOffset.CACHE_LINE, 2, 0, 0xff],
  [0x0f, 1, 0, 0xff],
  [PciOffset.BAR0, 24, 0xff, 0xff],
  [PciOffset.ROM, 4, 0xff, 0xff],
  [PciOffset.CAPABILITY_POINTER, 1, 0xff, 0],
  [PciOffset.INTERRUPT_LINE, 1, 0xff, 0xff],
  [PciOffset.INTERRUPT_PIN, 1, 0xff, 0],
]

/** Fields of a capability that are not simply hardware, read-only: relative offset, length, virtual, writable. */
const capabilityFields = (
  id: number,
  length: number,
): readonly (readonly [number, number, number, number])[] => {
  switch (id) {
    case CapabilityId.PM:
      return [
        // PME support, PME enable and PME status read 0: virtual, and zero there.
        [3, 1, 0xf8, 0],
        // The power state is hardware's, and is asked for, not written.
        [4, 1, 0, 0xfc],
        [5, 1, 0x81, 0x7e],
        [6, 2, 0, 0xff],
      ]
    case CapabilityId.VPD:
      return [[2, 6, 0xff, 0xff]]
    case CapabilityId.MSI:
      return length >= 14
        ? [
            [2, 1, 0xff, 0xff],
            [4, 10, 0xff, 0xff],
            ...(length === 24 ? [[16, 8, 0, 0xff] as const] : []),
          ]
        : [
            [2, 1, 0xff, 0xff],
            [4, 6, 0xff, 0xff],
            ...(length === 20 ? [[12, 8, 0, 0xff] as const] : []),
          ]
    case CapabilityId.EXPRESS:
      return [
        // Maximum payload size is 7:5 of the low byte, FLR 15 and read request size 14:12 of the high one.
        [0x08, 1, 0xe0, 0xff],
        [0x09, 1, 0xf0, 0xfd],
        ...(length > 0x28
          ? ([
              [0x28, 1, 0, 0xdf],
              [0x29, 1, 0, 0xff],
            ] as const)
          : []),
      ]
    case CapabilityId.AF:
      return [[4, 1, 0, 0x01]]
    case CapabilityId.VENDOR:
      return [[2, length - 2, 0, 0xff]]
    default:
      return []
  }
}

/**
 * The layout for a function, and in `virtual` (the virtual copy, which it patches) the list with hidden
 * capabilities unlinked.
 */
export const configLayout = (hw: HardwareConfig, virtualCopy: Uint8Array): ConfigLayout => {
  const parts = new Array<ConfigPart | undefined>(hw.size).fill(undefined)
  const virtual = new Uint8Array(hw.size)
  // Raw bytes go to hardware as they are.
  const writable = new Uint8Array(hw.size).fill(0xff)
  const set = (part: ConfigPart, fields: ReturnType<typeof capabilityFields>) => {
    parts.fill(part, part.start, part.start + part.length)
    writable.fill(0, part.start, part.start + part.length)
    for (const [offset, length, virtualBits, writableBits] of fields) {
      virtual.fill(virtualBits, part.start + offset, part.start + offset + length)
      writable.fill(writableBits, part.start + offset, part.start + offset + length)
    }
  }
  set({ id: 'header', start: 0, length: PciOffset.HEADER_END, readOnly: false }, HEADER_FIELDS)

  const capabilities: ConfigPart[] = []
  let link: number = PciOffset.CAPABILITY_POINTER
  virtualCopy[link] = 0
  for (let at = hw.bytes[link] ?? 0; at !== 0; at = hw.bytes[at + 1] ?? 0) {
    const id = hw.bytes[at] ?? 0
    const length = capabilityLength(hw, id, at)
    if (length === undefined) continue
    const fields = capabilityFields(id, length)
    const part = { id, start: at, length, readOnly: fields.length === 0 }
    set(part, fields)
    // Identity and next pointer of a visible capability: read-only, the pointer virtual.
    virtual[at + 1] = 0xff
    capabilities.push(part)
    virtualCopy[link] = at
    link = at + 1
    virtualCopy[link] = 0
  }
  if (capabilities.length === 0)
    virtualCopy[PciOffset.STATUS] = (virtualCopy[PciOffset.STATUS] ?? 0) & ~0x10
  return { parts, virtual, writable, capabilities }
}
