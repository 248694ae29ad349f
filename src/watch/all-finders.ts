import { containerSplit } from './container-split.ts'
import { deviceFailed } from './device-failed.ts'
import { dmaFault } from './dma-fault.ts'
import { emptyUnmap } from './empty-unmap.ts'
import type { FinderKind } from './finder.ts'
import type { FindingKind } from './finding.ts'
import { freedMemory } from './freed-memory.ts'
import { guessedId } from './guessed-id.ts'
import { ignoredOutput } from './ignored-output.ts'
import { iovaElsewhere } from './iova-elsewhere.ts'
import { leftAtRelease } from './left-at-release.ts'
import { lostEvents } from './lost-events.ts'
import { mappingLimit } from './mapping-limit.ts'
import { memlockLimit } from './memlock-limit.ts'
import { pageByPage } from './page-by-page.ts'
import { refusedHabits } from './refused-habit.ts'
import { unalignedHuge } from './unaligned-huge.ts'

/** Every finder there is. A new kind of finding is a new file with a finder, named here. */
export const allFinders: readonly FinderKind[] = [
  containerSplit,
  dmaFault,
  deviceFailed,
  freedMemory,
  emptyUnmap,
  ignoredOutput,
  guessedId,
  refusedHabits,
  iovaElsewhere,
  memlockLimit,
  mappingLimit,
  lostEvents,
  pageByPage,
  unalignedHuge,
  leftAtRelease,
]

/** Every kind of finding, for documentation and for formats that list rules. */
export const allFindingKinds: readonly FindingKind[] = allFinders.flatMap(({ finds }) => finds)

/** Finders of what is said at the end of a run even if nobody asked for the doctor. */
export const seriousFinders: readonly FinderKind[] = allFinders.filter(({ finds }) =>
  finds.some(({ serious }) => serious === true),
)

/**
 * Those of them that a run without devices can need: without DMA there is no DMA that fails. They want to
 * know little, so that maps and unmaps of a program that nobody watches cost what they cost.
 */
export const seriousFindersWithoutDma: readonly FinderKind[] = seriousFinders.filter(
  ({ interest }) => interest === 'objects',
)

/** Is this kind of finding said even if nobody asked? */
export const isSerious = (code: string): boolean =>
  allFindingKinds.some((kind) => kind.code === code && kind.serious === true)
