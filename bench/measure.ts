/** Times an operation that is too short for a clock, in batches, by tinybench. */
import { Bench } from 'tinybench'

export interface Operation {
  readonly name: string
  /** How many operations one call of `run` does. */
  readonly batch: number
  readonly run: () => void
  /** Before and after each batch, not timed. */
  readonly before?: () => void
  readonly after?: () => void
}

/** Nanoseconds of one operation: the median over all batches. */
export const measure = async (
  operations: readonly Operation[],
  milliseconds = 400,
): Promise<ReadonlyMap<string, number>> => {
  const bench = new Bench({ time: milliseconds, warmupTime: milliseconds / 4, throws: true })
  for (const { name, run, before, after } of operations)
    bench.add(name, run, {
      ...(before === undefined ? {} : { beforeEach: before }),
      ...(after === undefined ? {} : { afterEach: after }),
    })
  await bench.run()
  const found = new Map<string, number>()
  for (const [i, { name, batch }] of operations.entries()) {
    const result = bench.tasks[i]?.result
    if (result === undefined || !('latency' in result))
      throw new Error(`the benchmark ${name} gave no result`)
    found.set(name, (result.latency.p50 * 1e6) / batch)
  }
  return found
}
