/**
 * What the value of an option can be. One declaration serves the command line, where values are text,
 * the machine file, where they are JSON, the listing for people and the published JSON schema.
 */

import { formatAddress, type PciAddress, parseAddress } from '../vfio/pci/pci-slot.ts'
import { list } from '../watch/english.ts'

/** As given: text on the command line, any of these in a machine file. */
export type OptionValue = string | number | boolean

export interface OptionKind<T> {
  /** How a value looks, for the listing: `NUMBER`, `0000:01:00.0`. */
  readonly form: string
  /** One line: what it does, and what holds without it. */
  readonly meaning: string
  /** Ends the sentence "it must be ...". */
  readonly expected: string
  /** The JSON schema of its values. */
  readonly schema: Readonly<Record<string, unknown>>
  /** Undefined: the value does not fit. */
  read(given: OptionValue): T | undefined
}

export type OptionDeclarations = Readonly<Record<string, OptionKind<unknown>>>

/** The values that fit a declaration; absent options are absent. */
export type OptionValues<D extends OptionDeclarations> = {
  readonly [K in keyof D]?: D[K] extends OptionKind<infer T> ? T : never
}

export const wholeNumber = (
  meaning: string,
  { from = 0, to }: { readonly from?: number; readonly to: number },
): OptionKind<number> => ({
  form: 'NUMBER',
  meaning,
  expected: `a whole number from ${from} to ${to}`,
  schema: { type: 'integer', minimum: from, maximum: to },
  read: (given) => {
    const number = typeof given === 'string' && /^\d{1,15}$/.test(given) ? Number(given) : given
    const fits = Number.isSafeInteger(number) && typeof number === 'number'
    return fits && number >= from && number <= to ? number : undefined
  },
})

export const text = (meaning: string, form: string): OptionKind<string> => ({
  form,
  meaning,
  expected: 'text that is not empty',
  schema: { type: 'string', minLength: 1 },
  read: (given) => (typeof given === 'string' && given !== '' ? given : undefined),
})

export const oneOf = <const T extends string>(
  meaning: string,
  choices: readonly T[],
): OptionKind<T> => ({
  form: choices.join('|'),
  meaning,
  expected: `one of ${list(choices)}`,
  schema: { enum: choices },
  read: (given) => choices.find((choice) => choice === given),
})

export const yesOrNo = (meaning: string): OptionKind<boolean> => ({
  form: 'on|off',
  meaning,
  expected: 'on or off (in a file: true or false)',
  schema: { type: 'boolean' },
  read: (given) => {
    if (typeof given === 'boolean') return given
    return given === 'on' ? true : given === 'off' ? false : undefined
  },
})

/** The domain may be left out, as lspci and QEMU do. */
export const pciAddress = (meaning: string): OptionKind<PciAddress> => ({
  form: '0000:01:00.0',
  meaning,
  expected: 'a PCI address (domain:bus:device.function in hexadecimal, such as 0000:01:00.0)',
  schema: {
    type: 'string',
    pattern: '^([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[01][0-9a-fA-F]\\.[0-7]$',
    examples: [formatAddress({ domain: 0, bus: 1, device: 0, fn: 0 })],
  },
  read: (given) => {
    if (typeof given !== 'string') return undefined
    const short = /^[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(given)
    return parseAddress(`${short ? '0000:' : ''}${given}`.toLowerCase())
  },
})
