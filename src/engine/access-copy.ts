/** Which memory a CPU copy of an access touches (04 §3.4). */
import { hex, type UserVa } from '../abi/brands.ts'
import type { CopyBy } from './access.ts'
import type { Caller } from './objects.ts'
import { addressOf, PAGE } from './page-address.ts'
import type { PageSource } from './page-source.ts'
import type { PageRun } from './ports.ts'
import { Refusal, type Result, reasonKind, refuse } from './reason.ts'

export const CopyFaults = reasonKind<{ source: string; at: bigint; write: boolean }>({
  code: 'copy-faults',
  errno: 'EFAULT',
  cite: '04 §3.4',
  say: ({ source, at, write }) => `${write ? 'writing' : 'reading'} ${hex(at)} of ${source} faults`,
  advice:
    'Keep the memory behind a mapping in place, with its protection, until the mapping is gone.',
})

export const OnePageFails = reasonKind({
  code: 'one-page-fails',
  errno: 'EINVAL',
  cite: '05 §A.11',
  say: () => 'the single-page copy was made to fail (injected failure)',
  advice:
    'This failure was injected: make sure that the program passes the error on and can go on after it.',
})

/** Copies between `bytes` and the source, from byte `offset` of slot `slot` on. */
export const copyThrough = (
  caller: Caller,
  by: CopyBy,
  source: PageSource,
  slot: number,
  offset: number,
  bytes: Uint8Array,
  write: boolean,
): Result<void> => {
  if (source.file !== undefined) return copyPages(caller, source, slot, offset, bytes, write)
  const { space } = source.owner
  const sameSpace = by.space === space || (by.forOwner === true && !space.gone)
  if (sameSpace && by.slow !== true) return copyAddresses(source, slot, offset, bytes, write)
  if (offset + bytes.length <= PAGE) {
    if (caller.fails('access-one-page')) return refuse(OnePageFails, {})
    if (!space.gone) {
      const runs = space.take(source.firstPage + slot, 1, write, caller.process)
      return runs instanceof Refusal ? runs : copyRuns(source, runs, slot, offset, bytes, write)
    }
  }
  return copyPages(caller, source, slot, offset, bytes, write)
}

/** The owner's addresses as they are now; pins and page tables are ignored. */
const copyAddresses = (
  source: PageSource,
  slot: number,
  offset: number,
  bytes: Uint8Array,
  write: boolean,
): Result<void> => {
  const { space } = source.owner
  const va = addressOf(source.firstPage + slot, offset) as UserVa
  let done: number
  if (write) done = space.write(va, bytes)
  else {
    const read = space.read(va, bytes.length)
    bytes.set(read)
    done = read.length
  }
  if (done < bytes.length)
    return refuse(CopyFaults, { source: source.toString(), at: va + BigInt(done), write })
}

/** Page by page: the recorded page where there is one, else what is at the origin now. */
const copyPages = (
  caller: Caller,
  source: PageSource,
  slot: number,
  offset: number,
  bytes: Uint8Array,
  write: boolean,
): Result<void> => {
  const end = slot + Math.ceil((offset + bytes.length) / PAGE)
  for (let at = slot; at < end; ) {
    const recorded = source.recorded(at, end)[0]
    const to =
      recorded === undefined
        ? end
        : recorded.slot > at
          ? recorded.slot
          : recorded.slot + recorded.run.count
    const runs =
      recorded !== undefined && recorded.slot === at ? [recorded.run] : source.take(caller, at, to)
    if (runs instanceof Refusal) return runs
    // Bytes of [at, to) within the whole transfer.
    const skip = at === slot ? 0 : (at - slot) * PAGE - offset
    const part = bytes.subarray(skip, (to - slot) * PAGE - offset)
    const refusal = copyRuns(source, runs, at, at === slot ? offset : 0, part, write)
    if (refusal instanceof Refusal) return refusal
    at = to
  }
}

const copyRuns = (
  source: PageSource,
  runs: readonly PageRun[],
  slot: number,
  offset: number,
  bytes: Uint8Array,
  write: boolean,
): Result<void> => {
  let done = 0
  let skip = offset
  for (const { object, page, count } of runs) {
    const part = bytes.subarray(done, done + count * PAGE - skip)
    const reached = write ? object.write(page, skip, part) : object.read(page, skip, part)
    if (!reached)
      return refuse(CopyFaults, {
        source: source.toString(),
        at: addressOf(source.firstPage + slot, 0) + BigInt(offset + done),
        write,
      })
    done += part.length
    skip = 0
    if (done === bytes.length) return
  }
}
