import { Errno } from '../abi/errno.ts'
import { type ReasonDoc, reasonDoc, reasonsMarkdown, reasonText } from '../watch/reason-docs.ts'
import { everyReason } from './every-reason.ts'
import { ExitStatus } from './exit-status.ts'

/** `errors [CODE...]`: what the codes mean. Returns the exit status. */
export const errorsCommand = (
  codes: readonly string[],
  format: 'text' | 'markdown' | 'json',
): number => {
  const reasons = everyReason()
  if (format === 'markdown' && codes.length === 0) {
    process.stdout.write(reasonsMarkdown(reasons))
    return ExitStatus.OK
  }
  const docs = reasons.map(reasonDoc)
  const found = codes.length === 0 ? docs : codes.flatMap((code) => matching(code, docs))
  const unknown = codes.filter((code) => matching(code, docs).length === 0)
  for (const code of unknown)
    process.stderr.write(
      `iommufd-user: There is no reason '${code}'. 'iommufd-user errors' lists them all.\n`,
    )
  if (format === 'json') process.stdout.write(`${JSON.stringify(found, undefined, 2)}\n`)
  else if (found.length > 0) process.stdout.write(`${found.map(reasonText).join('\n\n')}\n`)
  return unknown.length === 0 ? ExitStatus.OK : ExitStatus.NEGATIVE
}

const matching = (code: string, docs: readonly ReasonDoc[]): readonly ReasonDoc[] =>
  code.toUpperCase() in Errno
    ? docs.filter((doc) => doc.errno === code.toUpperCase())
    : docs.filter((doc) => doc.code === code.toLowerCase())
