/** How figures are printed: the ratio that matters first, then what it is made of. */

export interface Figure {
  readonly name: string
  /** The figure that steers: a ratio, or the value itself. */
  readonly headline: string
  /** What it should be, where the project has set itself an aim. */
  readonly aim?: string
  readonly detail: string
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

export const ratio = (value: number): string => `${value.toFixed(2)}x`

/** 1234.5 ns as `1.23 us`. */
export const time = (nanoseconds: number): string =>
  nanoseconds < 1000
    ? `${nanoseconds.toFixed(0)} ns`
    : nanoseconds < 1e6
      ? `${(nanoseconds / 1e3).toFixed(2)} us`
      : `${(nanoseconds / 1e6).toFixed(1)} ms`

/** What one part found, or why it could not be run here. */
export type Report =
  | { readonly title: string; readonly figures: readonly Figure[] }
  | { readonly title: string; readonly skipped: string }

const width = (texts: readonly string[]): number => Math.max(...texts.map((text) => text.length))

const lines = (figures: readonly Figure[]): string[] => {
  const names = width(figures.map(({ name }) => name))
  const headlines = width(figures.map(({ headline }) => headline))
  const aims = width(figures.map(({ aim }) => aim ?? ''))
  return figures.map(({ name, headline, aim, detail }) =>
    [name.padEnd(names), headline.padStart(headlines), (aim ?? '').padEnd(aims), detail]
      .join('  ')
      .trimEnd(),
  )
}

export const print = (report: Report): void => {
  const body = 'skipped' in report ? [`skipped: ${report.skipped}`] : lines(report.figures)
  console.log(['', report.title, ...body.map((line) => `  ${line}`)].join('\n'))
}
