/** `a`, `a and b`, `a, b and c`. */
export const list = (items: readonly string[]): string =>
  items.length < 2
    ? (items[0] ?? 'none')
    : `${items.slice(0, -1).join(', ')} and ${items[items.length - 1]}`

/** `1 call`, `2 calls`. */
export const count = (number: number, singular: string, plural = `${singular}s`): string =>
  `${number} ${number === 1 ? singular : plural}`
