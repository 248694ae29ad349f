/** What examples with VFIO groups and devices are made of. */
import { ScratchCommand, ScratchRegister } from '../../src/vfio/scratch-device.ts'
import { descriptor, type Expectation, fails, ok, type Steps, words } from '../example.ts'
import { ARRAY, B, PAGE } from '../places.ts'

const SET_CONTAINER = 0x3b68
const UNSET_CONTAINER = 0x3b69
const GET_DEVICE_FD = 0x3b6a
/** Where names, descriptors and register values lie. */
const WORD = ARRAY

export const RW = 3
export const [GET, SET, CLEAR] = [0, 1, 2]

export const vfioIoas = (t: Steps, op: number, ioas_id = 0, wanted = ok()): void =>
  t.step('VFIO_IOAS', { op, ioas_id }, wanted)

export const compatIoasIs = (t: Steps, ioas_id: number): void =>
  vfioIoas(t, GET, 0, ok({ ioas_id }))

export const mapDma = (t: Steps, iova: bigint, size: bigint, wanted = ok(), vaddr = B): void =>
  t.step('VFIO_IOMMU_MAP_DMA', { flags: RW, vaddr, iova, size }, wanted)

/** Opens the group's node, /dev/vfio/`group`, into a slot. */
export const openGroup = (t: Steps, group: number | 'noiommu-0', slot: number): void =>
  t.open(`/dev/vfio/${group}`, { slot })

export const groupStatus = (t: Steps, slot: number, flags: number): void =>
  t.step('VFIO_GROUP_GET_STATUS', {}, ok({ flags }), { slot })

/** SET_CONTAINER with the file in slot `container`. */
export const setContainer = (
  t: Steps,
  slot: number,
  { container = 0, wanted = ok() }: { container?: number; wanted?: Expectation } = {},
): void => {
  t.poke(WORD, words(container < 0 ? container : descriptor(container)))
  t.ioctl(SET_CONTAINER, WORD, wanted, slot)
}

export const unsetContainer = (t: Steps, slot: number, wanted = ok()): void =>
  t.ioctl(UNSET_CONTAINER, 0n, wanted, slot)

const pokeName = (t: Steps, name: string): void => t.poke(WORD, Buffer.from(`${name}\0`))

/** GET_DEVICE_FD of a device of the group in `slot`; its file goes to slot `to`. */
export const getDevice = (t: Steps, slot: number, name: string, to: number): void => {
  pokeName(t, name)
  t.descriptorFrom(GET_DEVICE_FD, WORD, { slot, to })
}

export const getDeviceFails = (
  t: Steps,
  slot: number,
  name: string,
  errno: Parameters<typeof fails>[0],
): void => {
  pokeName(t, name)
  t.ioctl(GET_DEVICE_FD, WORD, fails(errno), slot)
}

/** Where the scratch device's region lies in its file. */
const REGION = 0x100_0000_0000n

const write = (t: Steps, slot: number, register: number, bytes: Uint8Array): void => {
  t.poke(WORD, bytes)
  t.plain(`pwrite ${slot} ${WORD} ${bytes.length} ${REGION + BigInt(register)}`, bytes.length)
}

const read = (t: Steps, slot: number, register: number, bytes: Uint8Array): void => {
  t.plain(`pread ${slot} ${WORD} ${bytes.length} ${REGION + BigInt(register)}`, bytes.length)
  t.sees(WORD, bytes)
}

const wide = (value: bigint): Uint8Array =>
  words(Number(value & 0xffff_ffffn), Number(value >> 32n))

/** The scratch device in `slot` executes a command; its status is then this errno, or 0. */
export const scratchCommand = (
  t: Steps,
  slot: number,
  command: keyof typeof ScratchCommand,
  { iova = 0n, length = 0, status = 0 }: { iova?: bigint; length?: number; status?: number },
): void => {
  write(t, slot, ScratchRegister.DMA_IOVA, wide(iova))
  write(t, slot, ScratchRegister.DMA_LENGTH, words(length))
  write(t, slot, ScratchRegister.COMMAND, words(ScratchCommand[command]))
  read(t, slot, ScratchRegister.STATUS, words(status))
}

export const scratchRegisterIs = (
  t: Steps,
  slot: number,
  register: keyof typeof ScratchRegister,
  value: number | bigint,
): void =>
  read(t, slot, ScratchRegister[register], typeof value === 'bigint' ? wide(value) : words(value))

/** The scratch device in `slot` reads one byte at `iova`, and it is this one. */
export const scratchSees = (t: Steps, slot: number, iova: bigint, byte: number): void => {
  scratchCommand(t, slot, 'READ', { iova, length: 4 })
  read(t, slot, ScratchRegister.BUFFER, Uint8Array.from([byte, byte, byte, byte]))
}

/** `count` pages from B on, page n filled with the byte n + 1. */
export const numberedPages = (t: Steps, count: number): void => {
  t.memory(B, BigInt(count) * PAGE, 'rw')
  for (let page = 0; page < count; page++) t.fill(B + BigInt(page) * PAGE, PAGE, page + 1)
}
