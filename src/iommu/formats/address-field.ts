/** The address field at bits 51:12 that most formats share: frame number << 12. */

export const frameAbove12 = (lo: number, hi: number): number =>
  (lo >>> 12) + (hi & 0xf_ffff) * 2 ** 20

export const frameField12 = (frame: number): number => frame * 4096
