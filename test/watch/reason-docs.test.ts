import { expect, test } from 'vitest'
import { reasonKind } from '../../src/engine/reason.ts'
import { reasonDoc, reasonsMarkdown, reasonText } from '../../src/watch/reason-docs.ts'

const overlap = reasonKind<{ range: { start: bigint }; users: readonly string[] }>({
  code: 'test-doc-overlap',
  errno: 'EEXIST',
  cite: '01 §12.2 step 5.4',
  say: ({ range, users }) =>
    `the range at 0x${range.start.toString(16)} is taken${users.length > 0 ? ` by ${users}` : ''}`,
  advice: 'Take another.',
})

const computes = reasonKind<{ page: bigint }>({
  code: 'test-doc-computes',
  errno: 'EFAULT',
  cite: '01 §17.2',
  say: ({ page }) => `nothing is at 0x${(page * 4096n).toString(16)}`,
  advice: 'Map it.',
})

const goesThrough = reasonKind<{ names: readonly string[] }>({
  code: 'test-doc-goes-through',
  errno: 'EFAULT',
  cite: '02 §2.5',
  say: ({ names }) => `these: ${names.map((name) => `<${name}>`).join()}`,
  advice: 'Name others.',
})

test('a clause is shown with the names of its fields', () => {
  expect(reasonDoc(overlap).clause).toBe('the range at 0x‹range.start› is taken')
  expect(reasonDoc(computes).clause).toBe('nothing is at 0x‹page›')
  expect(reasonDoc(goesThrough).clause).toBe('test doc goes through')
})

test('documents are ordered by chapter and section', () => {
  const text = reasonsMarkdown([goesThrough, computes, overlap])
  expect([...text.matchAll(/^### (.*)$/gm)].map((match) => match[1])).toEqual([
    'test-doc-overlap',
    'test-doc-computes',
    'test-doc-goes-through',
  ])
  expect(text).toContain('**EEXIST**: the range at 0x‹range.start› is taken.\n\nTake another.\n')
  expect(reasonText(reasonDoc(overlap))).toContain('Rule: 01 §12.2 step 5.4')
})
