/** The Test Anything Protocol, as Linux's test harness prints it. */

export type Verdict = 'pass' | 'skip' | 'fail'

/** Verdicts by test name, `fixture.variant.test`, in the order in which they were given. */
export type Results = ReadonlyMap<string, Verdict>

const line = /^(not )?ok \d+ (\S+)(.*)$/

export const parseTap = (text: string): Results => {
  const results = new Map<string, Verdict>()
  for (const each of text.split('\n')) {
    const found = line.exec(each)
    const name = found?.[2]
    if (found === null || name === undefined) continue
    const skipped = /#\s*SKIP/.test(found[3] ?? '')
    results.set(name, found[1] !== undefined ? 'fail' : skipped ? 'skip' : 'pass')
  }
  return results
}

/** What comes before the last dot: the fixture, with its variant. */
export const fixtureOf = (test: string): string => {
  const dot = test.lastIndexOf('.')
  return dot < 0 ? test : test.slice(0, dot)
}

/** `iommufd_ioas.no_domain` belongs to the fixture `iommufd_ioas`. */
export const familyOf = (test: string): string => test.split('.')[0] ?? test
