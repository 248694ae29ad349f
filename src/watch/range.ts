/** A range of addresses among the fields of a refusal, whatever field it is. */
export interface Range {
  readonly start: bigint
  readonly last: bigint
}

export const isRange = (value: unknown): value is Range =>
  typeof value === 'object' &&
  value !== null &&
  'start' in value &&
  'last' in value &&
  typeof value.start === 'bigint' &&
  typeof value.last === 'bigint'
