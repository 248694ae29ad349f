/** Every story of the playground plays as it is told. */
import { describe, expect, it } from 'vitest'
import { ioasOfCall, refusedRanges } from '../../src/inspector/model/refused-ranges.ts'
import { Timeline } from '../../src/inspector/model/timeline.ts'
import { usualConfig } from '../../src/inspector/playground/playground-machine.ts'
import { scenarios } from '../../src/inspector/playground/scenarios.ts'
import { Session } from '../../src/inspector/playground/session.ts'

const play = (name: string) => {
  const scenario = scenarios.find((each) => each.name === name)
  if (scenario === undefined) throw new Error(`no scenario ${name}`)
  const timeline = new Timeline()
  const session = new Session(scenario.config, (event) => timeline.append(event))
  return {
    timeline,
    outcomes: scenario.lines.map((line) => ({ line, ...session.run(line) })),
  }
}

/** How the lines that failed begin: with an errno, or with what a device says. */
const failures = (name: string): string[] =>
  play(name)
    .outcomes.filter(({ failed }) => failed)
    .map(({ text }) => text.split(/[:.]/)[0] ?? '')

describe('scenarios', () => {
  it('founding-question: both devices read the same address, and find other memory', () => {
    const { outcomes, timeline } = play('founding-question')
    expect(outcomes.filter(({ failed }) => failed)).toEqual([])
    expect(outcomes.slice(-2).map(({ text }) => text)).toEqual(['"memory one"', '"memory two"'])
    expect(timeline.findings.map(({ finding }) => finding.code)).toContain('container-split')
  })

  it.each([
    // 02 §2.6: the strict policy refuses the SET.
    ['container-strict', ['EBUSY']],
    // 01 §6.3 for the attach, 01 §12.2 for the map.
    ['msi-window', ['EADDRINUSE', 'EINVAL']],
    // 01 §5.4.
    ['destroy-busy', ['EBUSY', 'EBUSY', 'EBUSY']],
    ['dirty-tracking', []],
    ['pinned', ['the device reports errno 2']],
    // 01 §14.
    ['copies', ['EPERM']],
    // 07: AMD reserves the HyperTransport range.
    ['ht-hole', ['EINVAL']],
    ['narrow', ['EINVAL', 'stopped at 0x7ffff00000', 'stopped at 0x4000']],
  ])('%s fails where it is told to: %j', (name, expected) => {
    expect(failures(name)).toEqual(expected)
  })

  it('dirty-tracking: the bitmap has a bit for each page that was written', () => {
    const { outcomes, timeline } = play('dirty-tracking')
    // Pages 2, 3 and 9 of 16; the last write came after.
    expect(outcomes.find(({ line }) => line === 'show bits')?.text).toMatch(/^0c 02 00/)
    const [context] = timeline.latest.contexts.values()
    const dirty = [...(context?.ioases.values() ?? [])].flatMap((ioas) => [...ioas.dirty.values()])
    expect(dirty).toEqual([{ start: 0x10f000n, last: 0x10ffffn }])
  })

  it('msi-window: a refusal names the ranges that it is about', () => {
    const { timeline } = play('msi-window')
    const [attach, map] = timeline.errors.map((position) => timeline.calls[position - 1]?.event)
    if (attach === undefined || map === undefined) throw new Error('both calls fail')
    const window = { start: 0xfee0_0000n, last: 0xfeef_ffffn }
    const wanted = { start: 0xfee0_0000n, last: 0xfee0_ffffn }
    expect(refusedRanges(attach)).toEqual([window, wanted])
    expect(refusedRanges(map)).toEqual([wanted, window])
    expect(ioasOfCall(map)).toBe(2)
    expect(timeline.explanationAt(timeline.errors[1] ?? 0)?.rule).toMatch(/^01 §12.2/)
  })

  it('are all tested here', () => {
    expect(scenarios.map(({ name }) => name).sort()).toEqual(
      [
        'container-strict',
        'copies',
        'destroy-busy',
        'dirty-tracking',
        'founding-question',
        'ht-hole',
        'msi-window',
        'narrow',
        'pinned',
      ].sort(),
    )
  })
})

describe('a session', () => {
  const session = () => new Session(usualConfig, () => {})

  it('tells what is wrong with a line', () => {
    const one = session()
    expect(one.run('IOAS_ALLOC').text).toMatch(/none is open/)
    one.run('iommu = open /dev/iommu')
    expect(one.run('IOAS_MAP iovva=1').text).toMatch(/has no field iovva; it has .*iova/)
    expect(one.run('IOAS_MAP ioas_id=nobody').text).toMatch(/nobody is no number/)
    expect(one.run('IOAS_MAP flags=EXECUTE').text).toMatch(
      /none of FIXED_IOVA, WRITEABLE, READABLE/,
    )
    expect(one.run('IOAS_MAPP').text).toMatch(/no call named IOAS_MAPP/)
    expect(one.run('open /dev/nothing').text).toMatch(
      /There is no \/dev\/nothing; there are .*\/dev\/iommu/,
    )
  })

  it('takes numbers with units, sums, flags by short names, and names of earlier answers', () => {
    const one = session()
    one.run('iommu = open /dev/iommu')
    one.run('space = IOAS_ALLOC')
    one.run('memory = memory 64K')
    expect(
      one.run(
        'where = IOAS_MAP ioas_id=space user_va=memory+4K length=8K iova=1M flags=fixed_iova|readable',
      ),
    ).toEqual({ text: '= 0', failed: false })
    expect(one.run('IOAS_UNMAP ioas_id=space iova=where length=0x2000')).toEqual({
      text: '= 0',
      failed: false,
    })
  })
})
