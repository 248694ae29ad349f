/** Transcripts: what a door printed when it played a script of several cases. */

/** The lines of each case, by the title after `case `. */
export const splitTranscript = (text: string): Map<string, readonly string[]> => {
  const cases = new Map<string, string[]>()
  let lines: string[] | undefined
  for (const line of text.split('\n')) {
    if (line.startsWith('case ')) {
      lines = []
      cases.set(line.slice('case '.length), lines)
    } else if (line !== '') {
      lines?.push(line)
    }
  }
  return cases
}
