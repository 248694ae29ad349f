/** What could be typed next, from the declarations of the interface. */
import type { Ioctl } from '../../abi/ioctl.ts'
import { shortConstant, shortName } from '../model/short-names.ts'
import { inputFields, ioctlCalled, knownIoctls, type Variables } from './call-values.ts'

export interface Completion {
  /** What takes the place of the word that is being typed. */
  readonly text: string
  /** What it means, in a line. */
  readonly about: string
}

export interface Completions {
  /** Where the word begins that is being typed. */
  readonly from: number
  readonly list: readonly Completion[]
}

/** Beside the calls. */
export const ownCommands: readonly Completion[] = [
  { text: 'open', about: 'open a device node: open /dev/iommu' },
  { text: 'close', about: 'close an open file by its name' },
  { text: 'memory', about: 'allocate memory of the program: buffer = memory 64K' },
  { text: 'fill', about: 'put a text into memory: fill buffer "hello"' },
  { text: 'show', about: 'print the first bytes of memory' },
  { text: 'dma', about: 'the PCI function does DMA: dma write 0x100000 4K' },
  { text: 'scratch', about: 'an emulated device does DMA: scratch scratch0 read 0x100000 64' },
  { text: 'help', about: 'what there is; help IOAS_MAP explains a call' },
]

const MOST = 40

/** For the line up to the cursor. */
export const completionsFor = (line: string, variables: Variables): Completions => {
  const word = /[^\s=|]*$/.exec(line)?.[0] ?? ''
  const from = line.length - word.length
  const before = line
    .slice(0, from)
    .replace(/^\s*([a-z_]\w*)\s*=\s*/i, '')
    .replace(/^\s*[a-z_]\w*:\s+/i, '')
  const [name = ''] = before.trim().split(/\s+/)
  const candidates =
    before.trim() === '' ? callNames() : forCall(ioctlCalled(name), before, variables, name)
  const wanted = word.toLowerCase()
  const list = candidates
    .filter(({ text }) => text.toLowerCase().includes(wanted) && text !== word)
    .sort((a, b) => startsWith(b, wanted) - startsWith(a, wanted))
  return { from, list: list.slice(0, MOST) }
}

const startsWith = ({ text }: Completion, wanted: string): number =>
  Number(text.toLowerCase().startsWith(wanted))

const callNames = (): Completion[] => [
  ...ownCommands,
  ...knownIoctls.map(({ name, meaning }) => ({ text: shortName(name), about: meaning })),
]

const forCall = (
  ioctl: Ioctl | undefined,
  before: string,
  variables: Variables,
  name: string,
): Completion[] => {
  const named = [...variables].map(([text, value]) => ({ text, about: `0x${value.toString(16)}` }))
  if (name === 'help') return callNames()
  if (ioctl === undefined) return named
  const field = /([a-z_]\w*)=(?:[^\s]*\|)?$/i.exec(before)?.[1]
  const fields = ioctl.struct === undefined ? [] : inputFields(ioctl.struct)
  const known = fields.find((each) => each.name === field)
  if (field === undefined)
    return ioctl.struct === undefined
      ? [...constantNames(ioctl.values), ...named]
      : fields
          .filter((each) => !before.includes(` ${each.name}=`))
          .map((each) => ({ text: `${each.name}=`, about: each.meaning }))
  return [...constantNames(known?.flags ?? known?.values), ...named]
}

const constantNames = (constants: Readonly<Record<string, number>> | undefined): Completion[] =>
  constants === undefined
    ? []
    : Object.keys(constants).map((name) => ({ text: shortConstant(constants, name), about: name }))

/** What `help` says, of everything or of one call. */
export const helpText = (name: string): string => {
  const ioctl = name === '' ? undefined : ioctlCalled(name)
  if (ioctl === undefined)
    return [
      'One call a line; what it gives back can be named: ioas = IOAS_ALLOC.',
      ...ownCommands.map(({ text, about }) => `    ${text.padEnd(8)} ${about}`),
      'Calls go by their names in the headers, without prefix: IOAS_MAP, VFIO_IOAS, MAP_DMA …',
      'help IOAS_MAP explains one. A file is chosen with its name in front: group7: GROUP_SET_CONTAINER iommu',
    ].join('\n')
  const fields = ioctl.struct === undefined ? [] : inputFields(ioctl.struct)
  const width = Math.max(0, ...fields.map((field) => field.name.length))
  return [
    `${ioctl.name}: ${ioctl.meaning}`,
    ...fields.map((field) => {
      const constants = field.flags ?? field.values
      const words =
        constants === undefined
          ? ''
          : ` (${Object.keys(constants)
              .map((each) => shortConstant(constants, each))
              .join(', ')})`
      return `    ${field.name.padEnd(width)}  ${field.meaning}${words}`
    }),
  ].join('\n')
}
