/** Values of a call's structure from words: numbers, names of earlier outcomes, flags and constants by name. */
import { iova } from '../../abi/brands.ts'
import type { Constants } from '../../abi/fields.ts'
import type { Ioctl } from '../../abi/ioctl.ts'
import { iommu_iova_range } from '../../abi/iommufd/ioas.ts'
import type { PlacedField, Struct } from '../../abi/layout.ts'
import { containerIoctls, deviceIoctls, groupIoctls, iommufdCommands } from '../../abi/tables.ts'
import { shortConstant, shortName } from '../model/short-names.ts'
import { CommandError, parseNumber } from './command-line.ts'

export const knownIoctls: readonly Ioctl[] = [
  ...iommufdCommands,
  ...containerIoctls,
  ...groupIoctls,
  ...deviceIoctls,
].filter(({ name }) => name !== 'IOMMU_TEST_CMD')

/** By its name, also a shortened one. */
export const ioctlCalled = (name: string): Ioctl | undefined => {
  const wanted = name.toUpperCase()
  return (
    knownIoctls.find((ioctl) => ioctl.name === wanted) ??
    knownIoctls.find((ioctl) => ioctl.name.replace(/^(IOMMU_|VFIO_)/, '') === wanted) ??
    knownIoctls.find((ioctl) => shortName(ioctl.name) === wanted) ??
    knownIoctls.find((ioctl) => ioctl.name.endsWith(`_${wanted}`))
  )
}

/** The fields that a caller may fill in. */
export const inputFields = (struct: Struct): readonly PlacedField[] =>
  struct.fields.filter(({ role, direction }) => role === undefined && direction !== 'out')

const constantOf = (constants: Constants, word: string): number | undefined => {
  const wanted = word.toUpperCase()
  for (const [name, value] of Object.entries(constants)) {
    const known = name.toUpperCase()
    const short = shortConstant(constants, name).toUpperCase()
    if (known === wanted || short === wanted || known.endsWith(`_${wanted}`)) return value
  }
  return undefined
}

export type Variables = ReadonlyMap<string, bigint>

/** One value; throws CommandError for a word that means nothing. */
export const numberOf = (text: string, variables: Variables, constants?: Constants): bigint =>
  text
    .split('|')
    .map((word) => oneValue(word.trim(), variables, constants))
    .reduce((all, one) => all | one, 0n)

const oneValue = (word: string, variables: Variables, constants?: Constants): bigint => {
  const sum = /^([^+]+)\+(.+)$/.exec(word)
  if (sum !== null)
    return (
      oneValue(sum[1] ?? '', variables, constants) + oneValue(sum[2] ?? '', variables, constants)
    )
  const number = parseNumber(word)
  if (number !== undefined) return number
  const variable = variables.get(word)
  if (variable !== undefined) return variable
  const constant = constants === undefined ? undefined : constantOf(constants, word)
  if (constant !== undefined) return BigInt(constant)
  throw new CommandError(
    constants === undefined
      ? `${word} is no number and nothing was named so.`
      : `${word} is no number, nothing was named so, and it is none of ${Object.keys(constants)
          .map((name) => shortConstant(constants, name))
          .join(', ')}.`,
  )
}

/** A field's value in the type that its structure wants. */
export const fieldValue = (
  field: PlacedField,
  text: string,
  variables: Variables,
): number | bigint => {
  const value = numberOf(text, variables, field.flags ?? field.values)
  return field.wire === 'u64' ? BigInt.asUintN(64, value) : Number(BigInt.asIntN(53, value))
}

/** `[0x0-0xfff, 0x10000-0x1ffff]` as an array of iommu_iova_range. */
export const rangesOf = (text: string): Uint8Array => {
  const ranges = text
    .replace(/^\[|\]$/g, '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
  const array = new Uint8Array(ranges.length * iommu_iova_range.size)
  for (const [index, range] of ranges.entries()) {
    const [first = '', last = ''] = range.split('-')
    const start = parseNumber(first)
    const end = parseNumber(last)
    if (start === undefined || end === undefined)
      throw new CommandError(`${range} is no range; one looks like 0x1000-0x1fff.`)
    iommu_iova_range.encode(
      { start: iova(start), last: iova(end) },
      array.subarray(index * iommu_iova_range.size, (index + 1) * iommu_iova_range.size),
    )
  }
  return array
}
