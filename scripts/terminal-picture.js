// Renders terminal text from standard input as an SVG picture, for the README:
//
//   npm start | node scripts/terminal-picture.js FIRST LAST > docs/founding-question.svg
//
// takes lines FIRST to LAST (from 1).
import { readFileSync } from 'node:fs'

const [first = '1', last = 'Infinity'] = process.argv.slice(2)
const FONT = 13
const LINE = 18
const CHARACTER = 7.83
const MARGIN = 20

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }
const escaped = (text) => text.replace(/[&<>]/g, (character) => escapes[character])

const colourOf = (line) => {
  if (/^ {2}[┌│└]/.test(line)) return '#f2c14e'
  if (/^\d+\. /.test(line)) return '#8ab4f8'
  if (line.trimStart().startsWith('$')) return '#a5d6a7'
  return '#e6e6e6'
}

const lines = readFileSync(0, 'utf8')
  .split('\n')
  .slice(Number(first) - 1, Number(last))
const columns = Math.max(...lines.map((line) => [...line].length))
const width = Math.ceil(columns * CHARACTER + 2 * MARGIN)
const height = lines.length * LINE + 2 * MARGIN

const text = lines.map((line, i) => {
  const y = MARGIN + (i + 1) * LINE - 5
  return `<text x="${MARGIN}" y="${y}" fill="${colourOf(line)}" xml:space="preserve">${escaped(line)}</text>`
})

process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="A terminal in which iommufd-user runs an unmodified VFIO program and reports that its container spans two IOASes">
<rect width="100%" height="100%" rx="10" fill="#1e1f24"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${FONT}">
${text.join('\n')}
</g>
</svg>
`)
