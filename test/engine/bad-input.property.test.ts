/** Any bytes on any request number: an answer, never an exception, and nothing is left behind (01 §4). */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Fd, userVa } from '../../src/abi/brands.ts'
import { commands } from '../../src/engine/commands.ts'
import type { Call } from '../../src/engine/ports.ts'
import { Refusal } from '../../src/engine/reason.ts'
import { B, IoasWorld } from './support/ioas-world.ts'

const requests = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...commands.map(({ ioctl }) => ioctl.request)) },
  { weight: 1, arbitrary: fc.integer({ min: 0x3b00, max: 0x3bff }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
)

/** Words that mean something somewhere: small IDs, flags, page-aligned addresses, and the extremes. */
const word = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0n, 1n, 2n, 3n, 4n, 6n, 7n) },
  { weight: 3, arbitrary: fc.constantFrom(0x1000n, 0x2000n, 0x10_0000n, B, B + 0x800n) },
  { weight: 1, arbitrary: fc.constantFrom(0xffff_ffffn, 0xffff_ffff_ffff_ffffn, 1n << 63n) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }) },
)

const bytes = fc
  .array(fc.tuple(word, fc.boolean()), { minLength: 4, maxLength: 14 })
  .map((words) => {
    const out: number[] = []
    for (const [value, wide] of words)
      for (let i = 0; i < (wide && out.length % 8 === 0 ? 8 : 4); i += 1)
        out.push(Number((value >> BigInt(i * 8)) & 0xffn))
    return out
  })

const sizes = fc.oneof(
  { weight: 8, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constantFrom(0, 3, 7, 8, 11, 12, 16, 39, 41, 4096, 0xffff_ffff) },
)

test('any bytes on any number', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          request: requests,
          content: bytes,
          size: sizes,
          /** Bytes of the structure before memory ends; mostly all. */
          cut: fc.option(fc.nat(48), { freq: 6, nil: undefined }),
        }),
        { maxLength: 60, size: 'max' },
      ),
      (calls) => {
        const world = new IoasWorld()
        const { process, context, machine } = world
        const end = B + 0x20_0000n
        const call: Call = {
          process,
          tid: 1,
          memory: process.addressSpace,
          file: () => undefined,
          install: () => 3 as Fd,
          fails: () => false,
        }
        for (const { request, content, size, cut } of calls) {
          const known = commands.find(({ ioctl }) => ioctl.request === request)?.ioctl.struct.size
          const data = new Uint8Array(Math.max(known ?? 0, content.length, 4))
          data.set(content)
          new DataView(data.buffer).setUint32(0, size ?? known ?? data.length, true)
          const at = cut === undefined ? B + 0x10_0000n : end - BigInt(cut)
          process.addressSpace.write(userVa(at), data)
          const before = context.objects.size
          const result = context.ioctl(call, request, userVa(at))
          if (result instanceof Refusal) {
            expect(result.say()).not.toContain('undefined')
            expect(context.objects.size).toBe(before)
          }
        }
        context.release()
        // What events files and queues hold is theirs to close; here nobody has one.
        if (context.released) {
          expect(machine.frames.isEmpty).toBe(true)
          expect(machine.lockedMemory.isEmpty).toBe(true)
        }
      },
    ),
    { numRuns: 150 },
  )
})
