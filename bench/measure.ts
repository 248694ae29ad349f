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

/** Of sorted samples: a quarter of the batches took less. What the rest of the machine does is above it. */
const lowerQuartile = (samples: readonly number[]): number =>
  samples[Math.floor(samples.length / 4)] ?? Number.NaN

/** Nanoseconds of one operation: the lower quartile over all batches. */
export const measure = async (
  operations: readonly Operation[],
  milliseconds = 400,
): Promise<ReadonlyMap<string, number>> => {
  const bench = new Bench({
    time: milliseconds,
    warmupTime: milliseconds / 4,
    throws: true,
    retainSamples: true,
  })
  for (const { name, run, before, after } of operations)
    bench.add(name, run, {
      // Else tinybench runs it once, without the hooks, to find out.
      async: false,
      ...(before === undefined ? {} : { beforeEach: before }),
      ...(after === undefined ? {} : { afterEach: after }),
    })
  await bench.run()
  const found = new Map<string, number>()
  for (const [i, { name, batch }] of operations.entries()) {
    const result = bench.tasks[i]?.result
    const samples = result !== undefined && 'latency' in result ? result.latency.samples : undefined
    if (samples === undefined) throw new Error(`the benchmark ${name} gave no result`)
    found.set(name, (lowerQuartile(samples) * 1e6) / batch)
  }
  return found
}
