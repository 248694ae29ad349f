import { Errno } from '../abi/errno.ts'
import { allFindingKinds } from '../watch/all-finders.ts'
import { findingKindText, findingsMarkdown } from '../watch/finding-docs.ts'
import { type ReasonDoc, reasonDoc, reasonsMarkdown, reasonText } from '../watch/reason-docs.ts'
import { everyReason } from './every-reason.ts'
import { ExitStatus } from './exit-status.ts'

/** `errors [CODE...]`: what the codes of reasons and of findings mean. Returns the exit status. */
export const errorsCommand = (
  codes: readonly string[],
  { format, findings }: { format: 'text' | 'markdown' | 'json'; findings?: boolean },
): number => {
  if (format === 'markdown' && codes.length === 0) {
    const text = findings ? findingsMarkdown(allFindingKinds) : reasonsMarkdown(everyReason())
    process.stdout.write(text)
    return ExitStatus.OK
  }
  const docs = findings ? [] : everyReason().map(reasonDoc)
  const found = codes.length === 0 ? docs : codes.flatMap((code) => matching(code, docs))
  const kinds = allFindingKinds.filter(
    ({ code }) => codes.includes(code) || (findings && codes.length === 0),
  )
  const unknown = codes.filter(
    (code) => matching(code, docs).length === 0 && !kinds.some((kind) => kind.code === code),
  )
  for (const code of unknown)
    process.stderr.write(
      `iommufd-user: There is no reason '${code}'. 'iommufd-user errors' lists them all.\n`,
    )
  const texts = [...found.map(reasonText), ...kinds.map(findingKindText)]
  if (format === 'json')
    process.stdout.write(`${JSON.stringify([...found, ...kinds], undefined, 2)}\n`)
  else if (texts.length > 0) process.stdout.write(`${texts.join('\n\n')}\n`)
  return unknown.length === 0 ? ExitStatus.OK : ExitStatus.NEGATIVE
}

const matching = (code: string, docs: readonly ReasonDoc[]): readonly ReasonDoc[] =>
  code.toUpperCase() in Errno
    ? docs.filter((doc) => doc.errno === code.toUpperCase())
    : docs.filter((doc) => doc.code === code.toLowerCase())
