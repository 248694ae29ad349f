/** The pages behind a range of the caller's memory, in order, looked up as Linux faults them in. */
import type { UserVa } from '../../abi/brands.ts'
import type { Call, PageObject } from '../../engine/ports.ts'
import { Refusal, reasonKind, refuse } from '../../engine/reason.ts'

export const CallerPageAtTheEnd = reasonKind<{ address: bigint }>({
  code: 'caller-page-at-the-end',
  errno: 'EOVERFLOW',
  cite: '05 §A.7 op 7, as observed',
  say: ({ address }) => `the page of 0x${address.toString(16)} ends at 2^64`,
  advice: 'Pass an address that a process can have.',
})

export interface CallerPage {
  /** First byte of the range in this page. */
  readonly address: bigint
  /** The memory object, or why the page cannot be had; nothing comes after a refusal. */
  readonly object: PageObject | Refusal
  readonly page: number
}

const BATCH = 512n
const LAST_PAGE = (1n << 52n) - 1n

/** Looked up for reading, a batch at a time; a batch that fails as a whole is looked up page by page. */
export function* callerPages(call: Call, from: UserVa, length: bigint): Generator<CallerPage> {
  const end = from + length
  let at: bigint = from
  while (at < end) {
    const first = at >> 12n
    if (first >= LAST_PAGE) {
      yield { address: at, object: refuse(CallerPageAtTheEnd, { address: at }), page: 0 }
      return
    }
    const last = (end - 1n) >> 12n
    const count = last - first + 1n < BATCH ? last - first + 1n : BATCH
    const { addressSpace } = call.process
    const whole = addressSpace.take(Number(first), Number(count), false, call.process)
    const single = whole instanceof Refusal && count > 1n
    const runs = single ? addressSpace.take(Number(first), 1, false, call.process) : whole
    if (runs instanceof Refusal) {
      yield { address: at, object: runs, page: 0 }
      return
    }
    for (const { object, page, count: pages } of runs)
      for (let n = 0; n < pages; n++) {
        yield { address: at, object, page: page + n }
        at = ((at >> 12n) + 1n) << 12n
      }
  }
}
