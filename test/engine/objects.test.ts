/** IDs, user counts and release (01 §5). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EngineEvent } from '../../src/engine/events.ts'
import { type DestroyedBy, KernelObject, ObjectTable } from '../../src/engine/objects.ts'
import { IoasWorld, must, outcome } from './support/ioas-world.ts'

class Thing extends KernelObject {
  override readonly type = 'selftest'
  readonly on: KernelObject | undefined
  readonly log: string[]

  constructor(world: IoasWorld, log: string[] = [], on?: KernelObject) {
    super(world.context, must(world.context.objects.reserve()))
    this.on = on
    this.log = log
    if (on !== undefined) on.users += 1
    world.context.objects.publish(this)
  }

  override teardown(by: DestroyedBy): void {
    this.log.push(`${this.id} ${by}`)
    if (this.on !== undefined) this.on.users -= 1
  }
}

test('01 §5.1: always the lowest free ID', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 400, size: 'max' }), (choices) => {
      const table = new ObjectTable()
      const taken = new Set<number>()
      for (const choice of choices) {
        if (choice % 3 === 0 && taken.size > 0) {
          const id = [...taken][choice % taken.size] as number
          table.abort(id as never)
          taken.delete(id)
        } else {
          let lowest = 1
          while (taken.has(lowest)) lowest += 1
          expect(table.reserve()).toBe(lowest)
          taken.add(lowest)
        }
        expect(table.size).toBe(taken.size)
      }
    }),
  )
})

describe('01 §5.6 release', () => {
  test('sweeps in ascending order until nothing is left', () => {
    const world = new IoasWorld()
    const log: string[] = []
    const one = new Thing(world, log)
    const two = new Thing(world, log, one)
    const three = new Thing(world, log)
    new Thing(world, log, three)
    expect(outcome(world.context.objects.removeUnused(one, 'destroy'))).toBe('EBUSY')
    world.context.release()
    expect(log).toEqual(['2 release', '4 release', '1 release', '3 release'])
    expect(two.on).toBe(one)
  })

  test('a tombstone is not found, not given out again, and goes with the context', () => {
    const world = new IoasWorld()
    const gone = new Thing(world)
    world.context.objects.remove(gone, 'driver', { tombstone: true })
    expect(world.context.objects.peek(1)).toBeUndefined()
    expect(world.context.objects.size).toBe(1)
    expect(new Thing(world).id).toBe(2)
    world.context.release()
    expect(world.context.released).toBe(true)
  })
})

test('events name what was made and destroyed, and by whom', () => {
  const events: EngineEvent[] = []
  const world = new IoasWorld({ observer: { event: (event) => events.push(event) } })
  const ioas = world.ioas()
  must(world.context.objects.removeUnused(ioas, 'destroy'))
  world.context.release()
  expect(events.map(({ type }) => type)).toEqual([
    'context-opened',
    'object-created',
    'object-destroyed',
    'context-released',
  ])
  expect(events[2]).toMatchObject({ id: 1, object: 'ioas', by: 'destroy', context: 1, call: 0 })
})
