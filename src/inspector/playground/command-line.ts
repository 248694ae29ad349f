/**
 * The playground's language: one call a line, in the words of the headers.
 *
 *     iommu = open /dev/iommu                  what a call gives back can be named
 *     buffer = memory 64K                      memory of the program
 *     IOAS_MAP ioas_id=1 user_va=buffer length=64K iova=0x100000 flags=FIXED_IOVA|READABLE
 *     iommu: IOAS_ALLOC                        on a certain file; else on the latest that has the call
 *     dma write 0x100000 4K                    the PCI function does DMA
 *     # a remark
 */

/** A mistake in what was typed; the message is a sentence. */
export class CommandError extends Error {}

export interface ParsedCommand {
  /** The name that its outcome gets. */
  readonly result: string | undefined
  /** The named file that it is made on. */
  readonly target: string | undefined
  readonly name: string
  /** What has no `=`. */
  readonly words: readonly string[]
  readonly fields: ReadonlyMap<string, string>
}

/** Undefined for a line without a command. Throws CommandError. */
export const parseCommand = (line: string): ParsedCommand | undefined => {
  const text = line.replace(/(^|\s)#.*$/, '').trim()
  if (text === '') return undefined
  const named = /^([a-z_]\w*)\s*=\s*(?=\S)/i.exec(text)
  const behind = named === null ? text : text.slice(named[0].length)
  const targeted = /^([a-z_]\w*):\s+/i.exec(behind)
  const rest = targeted === null ? behind : behind.slice(targeted[0].length)
  const [name = '', ...others] =
    rest.match(/"[^"]*"|\[[^\]]*\]|[^\s"[]+(?:"[^"]*"|\[[^\]]*\])?/g) ?? []
  if (name === '') throw new CommandError('There is no call in that line.')
  const words: string[] = []
  const fields = new Map<string, string>()
  for (const part of others) {
    const field = /^([a-z_]\w*)=(.*)$/is.exec(part)
    if (field === null) words.push(part)
    else fields.set(field[1] ?? '', field[2] ?? '')
  }
  return { result: named?.[1], target: targeted?.[1], name, words, fields }
}

const UNITS: Readonly<Record<string, bigint>> = {
  '': 1n,
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
}

/** `0x1000`, `4096`, `4K`; undefined for what is no number. */
export const parseNumber = (text: string): bigint | undefined => {
  const number = /^(0x[0-9a-f_]+|\d+)([KMGT]?)$/i.exec(text)
  if (number === null) return undefined
  const [, digits = '', unit = ''] = number
  return BigInt(digits.replaceAll('_', '')) * (UNITS[unit.toUpperCase()] ?? 1n)
}
