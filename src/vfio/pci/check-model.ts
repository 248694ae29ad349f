/** Whether a model can be a PCI function at all: asked once, when it is added to a machine. */
import { hex } from '../../abi/brands.ts'
import { CapabilityId, PciOffset } from './hardware-config.ts'
import type { Bar, MsixTable, PciCapability, PciModel } from './pci-model.ts'

const STANDARD_END = 0x100
const MSIX_ENTRY = 16

/** Throws an Error that says what is wrong, as the end of a sentence ("... because "). */
export const checkModel = (model: PciModel): void => {
  const [wrong] = typeof model === 'object' && model !== null ? faults(model) : ['it is no model']
  if (wrong !== undefined) throw new Error(wrong)
}

const faults = (model: PciModel): string[] => {
  const shape = shapeFaults(model)
  if (shape.length > 0) return shape
  return Array.isArray(model.identity.capabilities)
    ? contentFaults(model)
    : ["its identity has no 'capabilities', a list, which may be empty"]
}

const contentFaults = (model: PciModel): string[] => [
  ...identityFaults(model),
  ...capabilityFaults(model.identity.capabilities),
  ...model.bars.flatMap((bar) => barFaults(bar)),
  ...overlapFaults(model.bars),
  ...msixFaults(model),
]

/** Modules written in JavaScript are checked by nobody else; without these, nothing more can be said. */
const shapeFaults = (model: PciModel): string[] => {
  const needed: readonly [string, (value: unknown) => boolean, string][] = [
    ['identity', (value) => typeof value === 'object' && value !== null, 'who it is'],
    ['bars', Array.isArray, 'a list of BARs, which may be empty'],
    ['reset', (value) => typeof value === 'function', 'a function'],
    ['resettable', (value) => typeof value === 'boolean', 'true or false'],
  ]
  return needed.flatMap(([name, is, what]) =>
    is(Reflect.get(model, name)) ? [] : [`its model has no '${name}', ${what}`],
  )
}

const identityFaults = ({ identity }: PciModel): string[] => {
  const fields = [
    ['vendor', identity.vendor, 0xfffe],
    ['device', identity.device, 0xffff],
    ['revision', identity.revision, 0xff],
    ['classCode', identity.classCode, 0xff_ffff],
    ['subsystemVendor', identity.subsystemVendor, 0xffff],
    ['subsystemDevice', identity.subsystemDevice, 0xffff],
  ] as const
  const numbers = fields.flatMap(([name, value, most]) =>
    Number.isInteger(value) && value >= 0 && value <= most
      ? []
      : [`its ${name} is ${shown(value)}, but must be a whole number from 0 to ${hex(most)}`],
  )
  const pin: unknown = identity.interruptPin
  const size: unknown = identity.configSize
  return [
    ...numbers,
    ...(pin === 0 || pin === 1 ? [] : [`its interruptPin is ${shown(pin)}, but must be 0 or 1`]),
    ...(size === 256 || size === 4096
      ? []
      : [`its configSize is ${shown(size)}, but must be 256 or 4096`]),
  ]
}

const shown = (value: unknown): string =>
  typeof value === 'number' ? hex(value) : value === undefined ? 'missing' : String(value)

const capabilityFaults = (capabilities: readonly PciCapability[]): string[] => {
  const found: string[] = []
  const used: { start: number; end: number; id: number }[] = []
  for (const { id, offset, body } of capabilities) {
    const name = `its capability ${hex(id)} at ${hex(offset)}`
    const end = offset + 2 + body.length
    if (!Number.isInteger(offset) || offset < PciOffset.HEADER_END || offset % 4 !== 0)
      found.push(`${name} must be at a multiple of 4 from 0x40 on`)
    else if (end > STANDARD_END) found.push(`${name} ends at ${hex(end)}, behind 0x100`)
    if (!body.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 0xff))
      found.push(`the body of ${name} has something in it that is no byte`)
    const met = used.find(({ start, end: other }) => offset < other && start < end)
    if (met !== undefined)
      found.push(`${name} overlaps the capability ${hex(met.id)} at ${hex(met.start)}`)
    used.push({ start: offset, end, id })
  }
  return found
}

const isPowerOfTwo = (value: number): boolean =>
  Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value))

const barFaults = ({ index, kind, length, memory }: Bar): string[] => {
  const name = `its BAR${index}`
  const last = kind === 'memory64' ? 4 : 5
  const [least, most] = kind === 'io' ? [4, 256] : [16, kind === 'memory64' ? 2 ** 40 : 2 ** 31]
  const found: string[] = []
  if (!['memory32', 'memory64', 'io'].includes(kind))
    found.push(`${name} is of the kind '${kind}'; there are memory32, memory64 and io`)
  if (!Number.isInteger(index) || index < 0 || index > last)
    found.push(`${name} must have an index from 0 to ${last}`)
  if (!isPowerOfTwo(length) || length < least || length > most)
    found.push(
      `${name} is ${shown(length)} bytes long; it must be a power of two from ${hex(least)} to ${hex(most)}`,
    )
  if (memory !== undefined && kind === 'io') found.push(`${name} is I/O, which has no memory`)
  if (memory !== undefined && memory.length !== length)
    found.push(`${name} is ${hex(length)} bytes long, but its memory ${hex(memory.length)}`)
  return found
}

const overlapFaults = (bars: readonly Bar[]): string[] => {
  const taken = new Set<number>()
  for (const { index, kind } of bars)
    for (const slot of kind === 'memory64' ? [index, index + 1] : [index]) {
      if (taken.has(slot)) return [`two of its BARs take the index ${slot}`]
      taken.add(slot)
    }
  return []
}

const msixFaults = ({ msix, bars, identity }: PciModel): string[] => {
  const capability = identity.capabilities.find(({ id }) => id === CapabilityId.MSIX)
  if (msix === undefined)
    return capability === undefined ? [] : ['it has an MSI-X capability, but no msix']
  if (capability === undefined) return ['it has msix, but no MSI-X capability (0x11)']
  const { vectors } = msix
  if (!Number.isInteger(vectors) || vectors < 1 || vectors > 2048)
    return [`its msix has ${vectors} vectors; there can be from 1 to 2048`]
  const said = ((capability.body[0] ?? 0) | ((capability.body[1] ?? 0) << 8)) & 0x7ff
  if (said !== vectors - 1)
    return [`its msix has ${vectors} vectors, but its MSI-X capability says ${said + 1}`]
  return [
    ...placeFaults('table', msix.tableBar, msix.tableOffset, vectors * MSIX_ENTRY, bars),
    ...placeFaults('PBA', msix.pbaBar, msix.pbaOffset, Math.ceil(vectors / 64) * 8, bars),
    ...pointerFaults(capability, msix),
  ]
}

const placeFaults = (
  what: string,
  index: number,
  offset: number,
  length: number,
  bars: readonly Bar[],
): string[] => {
  const bar = bars.find((candidate) => candidate.index === index)
  if (bar === undefined || bar.kind === 'io')
    return [`its MSI-X ${what} is in BAR${index}, which is no memory BAR`]
  if (offset % 8 !== 0 || offset < 0 || offset + length > bar.length)
    return [
      `its MSI-X ${what} at ${hex(offset)} must be a multiple of 8 and lie inside BAR${index}`,
    ]
  return []
}

/** The capability holds offsets with the BAR's index in the lower three bits, from byte 4 on. */
const pointerFaults = ({ body }: PciCapability, msix: MsixTable): string[] => {
  const word = (at: number): number =>
    [0, 1, 2, 3].reduce((value, i) => value + (body[at + i] ?? 0) * 256 ** i, 0)
  const wanted = [
    ['table', 2, msix.tableOffset + msix.tableBar],
    ['PBA', 6, msix.pbaOffset + msix.pbaBar],
  ] as const
  return wanted.flatMap(([what, at, value]) =>
    word(at) === value
      ? []
      : [`its MSI-X capability says ${hex(word(at))} of the ${what}, its msix ${hex(value)}`],
  )
}
