/** Log pages (06 §14.9). */
import { COMPOSITE_TEMPERATURE } from './features.ts'
import { FIRMWARE } from './identify.ts'
import { BLOCK_SIZE } from './image.ts'

export const LogPage = { ERROR_INFORMATION: 0x01, HEALTH: 0x02, FIRMWARE_SLOT: 0x03 } as const

const TEMPERATURE_PAST_THRESHOLD = 1 << 1
/** Data units are thousands of 512 bytes, rounded up. */
const DATA_UNIT = 1000 * BLOCK_SIZE

/** What the controller has done since it was made. */
export class Statistics {
  bytesRead = 0
  bytesWritten = 0
  reads = 0
  writes = 0
}

/** Undefined: there is no such page. */
export const logPage = (
  id: number,
  statistics: Statistics,
  temperatureWarning: boolean,
): Uint8Array | undefined => {
  switch (id) {
    case LogPage.ERROR_INFORMATION:
      return new Uint8Array(64)
    case LogPage.HEALTH:
      return health(statistics, temperatureWarning)
    case LogPage.FIRMWARE_SLOT:
      return firmwareSlot()
    default:
      return undefined
  }
}

const health = (statistics: Statistics, temperatureWarning: boolean): Uint8Array => {
  const bytes = new Uint8Array(512)
  const view = new DataView(bytes.buffer)
  bytes[0] = temperatureWarning ? TEMPERATURE_PAST_THRESHOLD : 0
  view.setUint16(1, COMPOSITE_TEMPERATURE, true)
  // Spare in percent, and its threshold.
  bytes[3] = 100
  bytes[4] = 10
  const count = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true)
  count(32, Math.ceil(statistics.bytesRead / DATA_UNIT))
  count(48, Math.ceil(statistics.bytesWritten / DATA_UNIT))
  count(64, statistics.reads)
  count(80, statistics.writes)
  return bytes
}

const firmwareSlot = (): Uint8Array => {
  const bytes = new Uint8Array(512)
  // Slot 1 is active.
  bytes[0] = 0x01
  bytes.fill(0x20, 8, 16)
  bytes.set(new TextEncoder().encode(FIRMWARE), 8)
  return bytes
}
