/** Text for a terminal, laid out for reading. */
import { styleText } from 'node:util'
import type { Explanation } from '../watch/explanation.ts'
import { evidenceText, type Finding } from '../watch/finding.ts'

const WIDTH = 100

const styled = (style: Parameters<typeof styleText>[0], text: string): string =>
  process.stdout.isTTY && process.env['NO_COLOR'] === undefined ? styleText(style, text) : text

/** Lines of at most `width` characters, broken at blanks. */
export const wrap = (text: string, width: number): string[] => {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

export const heading = (text: string): void => {
  process.stdout.write(`\n${styled('bold', text)}\n${'─'.repeat(text.length)}\n`)
}

export const paragraph = (text: string): void => {
  process.stdout.write(`${wrap(text, WIDTH).join('\n')}\n\n`)
}

/** A finding, set off from what a program prints. */
export const findingBox = (finding: Finding): string => box(finding.severity, finding)

/** A failed call, set off likewise. */
export const explanationBox = (explanation: Explanation): string =>
  box(`call #${explanation.call}`, explanation)

const box = (
  title: string,
  { code, sentence, evidence, advice }: Omit<Finding, 'severity'>,
): string => {
  const inside = [
    ...wrap(sentence, WIDTH - 4),
    ...evidence.flatMap((one) => hanging('· ', evidenceText(one))),
    ...hanging('→ ', advice),
  ]
  return [
    `  ┌ iommufd-user: ${title} [${code}]`,
    ...inside.map((line) => `  │ ${line}`),
    '  └',
    '',
  ].join('\n')
}

const hanging = (mark: string, text: string): string[] =>
  wrap(text, WIDTH - 6).map((line, i) => `${i === 0 ? mark : '  '}${line}`)
