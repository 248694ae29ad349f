/**
 * Random calls with mock devices (chapters 3 to 5). A sequence has a theme: it begins with what the
 * theme needs, and most of its calls are of that kind.
 *
 * Large pages are switched off in every IOAS: which leaves a table gets would else depend on which
 * physical pages Linux happens to give, and a dirty query can hang there (03 §12.3).
 */
import { type RandomCall, structCall } from '../call.ts'
import type { Random } from '../random.ts'
import { accesses } from './accesses.ts'
import { devices } from './devices.ts'
import { dirty } from './dirty.ts'
import { faults } from './faults.ts'
import { nesting } from './nesting.ts'
import { pasids } from './pasids.ts'
import type { Theme } from './pieces.ts'
import { MockWorld } from './world.ts'

const themes: readonly Theme[] = [devices, nesting, faults, dirty, pasids, accesses]
/** Calls of the theme are that much more frequent. */
const FAVOUR = 8

/** A sequence of about `count` calls. */
export const mockCalls = (
  random: Random,
  count: number,
  setUp: readonly string[],
): RandomCall[] => {
  const world = new MockWorld(setUp)
  const theme = random.pick(themes)
  if (random.chance(95)) theme.begin(world)
  const makers = themes.flatMap((each) =>
    each.makers.map(([weight, make]) => [each === theme ? FAVOUR * weight : weight, make] as const),
  )
  while (world.calls.length < count) random.weighted(makers)(random, world)
  // Linux leaks what is attached to a PASID when a context goes (05 §A.2.3).
  for (const id of world.mockDevices)
    for (const pasid of world.pasids) world.add(structCall('TEST_PASID_DETACH', { id, pasid }))
  return world.calls
}
