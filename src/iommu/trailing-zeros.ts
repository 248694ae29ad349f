/** Number of trailing zero bits of an integer of at most 53 bits; 64 for zero, which everything divides. */
export const trailingZeros = (value: number): number => {
  const low = value >>> 0
  if (low !== 0) return 31 - Math.clz32(low & -low)
  const high = Math.floor(value / 2 ** 32) >>> 0
  return high === 0 ? 64 : 63 - Math.clz32(high & -high)
}

/** floor(log2(value)) for a positive integer of at most 53 bits. */
export const log2Floor = (value: number): number => {
  const high = Math.floor(value / 2 ** 32)
  return high !== 0 ? 63 - Math.clz32(high) : 31 - Math.clz32(value)
}
