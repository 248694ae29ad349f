/** Look-up tables of a page-size bitmap, in units of 2^granuleShift bytes. */
export const sizeTables = (
  pageSizes: bigint,
  granuleShift: number,
): { sizeFor: Int8Array; nextSize: Int8Array } => {
  const sizeFor = new Int8Array(65).fill(-1)
  const nextSize = new Int8Array(65).fill(99)
  const offered = (k: number): boolean => ((pageSizes >> BigInt(k + granuleShift)) & 1n) === 1n
  let last = -1
  for (let k = 0; k <= 64; k++) {
    if (offered(k)) {
      if (last >= 0) nextSize[last] = k
      last = k
    }
    sizeFor[k] = last
  }
  return { sizeFor, nextSize }
}
