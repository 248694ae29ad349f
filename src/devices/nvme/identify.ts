/** The data structures of Identify (06 §14.7). */
import { MAX_EVENT_REQUESTS } from './async-events.ts'
import { CRITICAL_TEMPERATURE, WARNING_TEMPERATURE } from './features.ts'
import type { Image } from './image.ts'
import { VERSION_1_4 } from './registers.ts'

export const IDENTIFY_BYTES = 4096
export const NAMESPACES = 1
export const FIRMWARE = '1.0'
/** Largest transfer: 4096 << 7 bytes. */
const MAX_TRANSFER_SHIFT = 7
export const MAX_TRANSFER = 4096 << MAX_TRANSFER_SHIFT

const VENDOR = 0x1b36
const SUBSYSTEM_VENDOR = 0x1af4
/** Locally administered. */
const ORGANISATION = [0x02, 0x00, 0x00] as const
const MODEL = 'iommufd-user NVMe controller'
const DATASET_MANAGEMENT = 1 << 2
const WRITE_ZEROES = 1 << 3
const BLOCK_SHIFT = 9
/** Deallocated blocks read as zeroes; Write Zeroes can deallocate. */
const DEALLOCATION = 0x09
const WRITE_PROTECTED = 1
const DescriptorType = { EUI64: 1, NGUID: 2 } as const

export interface DiskIdentity {
  /** Up to 20 printable ASCII characters. */
  readonly serial: string
  /** 8 bytes that no other disk has. */
  readonly eui64: Uint8Array
}

/** The same for the same image, so that a guest finds its disk again. */
export const diskIdentity = (path: string, serial?: string): DiskIdentity => {
  // FNV-1a, 64 bits.
  let hash = 0xcbf2_9ce4_8422_2325n
  for (const byte of new TextEncoder().encode(path))
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100_0000_01b3n)
  const eui64 = new Uint8Array(8)
  new DataView(eui64.buffer).setBigUint64(0, hash)
  eui64.set(ORGANISATION)
  const digits = hash.toString(16).padStart(16, '0')
  return { serial: serial ?? digits, eui64 }
}

const page = (): { bytes: Uint8Array; view: DataView } => {
  const bytes = new Uint8Array(IDENTIFY_BYTES)
  return { bytes, view: new DataView(bytes.buffer) }
}

const ascii = (bytes: Uint8Array, at: number, length: number, text: string): void => {
  bytes.fill(0x20, at, at + length)
  bytes.set(new TextEncoder().encode(text).subarray(0, length), at)
}

export const identifyController = ({ serial, eui64 }: DiskIdentity): Uint8Array => {
  const { bytes, view } = page()
  view.setUint16(0, VENDOR, true)
  view.setUint16(2, SUBSYSTEM_VENDOR, true)
  ascii(bytes, 4, 20, serial)
  ascii(bytes, 24, 40, MODEL)
  ascii(bytes, 64, 8, FIRMWARE)
  // Recommended arbitration burst.
  bytes[72] = 6
  bytes.set(ORGANISATION, 73)
  bytes[77] = MAX_TRANSFER_SHIFT
  view.setUint32(80, VERSION_1_4, true)
  // An I/O controller.
  bytes[111] = 1
  // Abort command limit, and event requests, less one.
  bytes[258] = 3
  bytes[259] = MAX_EVENT_REQUESTS - 1
  // One firmware slot, read-only.
  bytes[260] = 0x03
  view.setUint16(266, WARNING_TEMPERATURE, true)
  view.setUint16(268, CRITICAL_TEMPERATURE, true)
  // Queue entries of 2^6 and 2^4 bytes, least and most.
  bytes[512] = 0x66
  bytes[513] = 0x44
  view.setUint32(516, NAMESPACES, true)
  view.setUint16(520, DATASET_MANAGEMENT | WRITE_ZEROES, true)
  // A volatile write cache; Flush takes all namespaces.
  bytes[525] = 0x07
  const hex = [...eui64].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  const uuid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8000-${hex.slice(0, 12)}`
  bytes.set(new TextEncoder().encode(`nqn.2014-08.org.nvmexpress:uuid:${uuid}`), 768)
  // Power state 0: 25 W at most.
  view.setUint16(2048, 2500, true)
  return bytes
}

export const identifyNamespace = ({ eui64 }: DiskIdentity, image: Image): Uint8Array => {
  const { bytes, view } = page()
  const blocks = BigInt(image.blocks)
  // Size, capacity, utilisation.
  for (const at of [0, 8, 16]) view.setBigUint64(at, blocks, true)
  bytes[33] = DEALLOCATION
  if (image.readOnly) bytes[99] = WRITE_PROTECTED
  bytes.set(nguid(eui64), 104)
  bytes.set(eui64, 120)
  // The one format: no metadata, 512 bytes.
  bytes[130] = BLOCK_SHIFT
  return bytes
}

const nguid = (eui64: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(16)
  bytes.set(eui64, 8)
  return bytes
}

/** `after`: only namespaces above it. */
export const activeNamespaces = (after: number): Uint8Array => {
  const { bytes, view } = page()
  let at = 0
  for (let id = after + 1; id <= NAMESPACES; id++, at += 4) view.setUint32(at, id, true)
  return bytes
}

export const namespaceDescriptors = ({ eui64 }: DiskIdentity): Uint8Array => {
  const { bytes } = page()
  bytes.set([DescriptorType.EUI64, eui64.length], 0)
  bytes.set(eui64, 4)
  const at = 4 + eui64.length
  bytes.set([DescriptorType.NGUID, 16], at)
  bytes.set(nguid(eui64), at + 4)
  return bytes
}
