/** The command's raw bytes, and where execvp would look for it. */
import { readFileSync } from 'node:fs'

const SLASH = 0x2f
const split = (bytes: Uint8Array, separator: number): Uint8Array[] => {
  const parts: Uint8Array[] = []
  let start = 0
  for (let end = bytes.indexOf(separator); end >= 0; end = bytes.indexOf(separator, start)) {
    parts.push(bytes.subarray(start, end))
    start = end + 1
  }
  if (start < bytes.length) parts.push(bytes.subarray(start))
  return parts
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

/**
 * Arguments and environment exactly as the front process got them: they need not be valid UTF-8, which
 * a string of JavaScript cannot carry. `variable` is ours and left out.
 */
export const rawCommand = (
  front: number,
  command: readonly string[],
  variable: string,
): { argv: Uint8Array[]; envp: Uint8Array[] } => {
  const cmdline = split(readFileSync(`/proc/${front}/cmdline`), 0).slice(-command.length)
  const same =
    cmdline.length === command.length && cmdline.every((arg, i) => text(arg) === command[i])
  const environ = split(readFileSync(`/proc/${front}/environ`), 0)
  return {
    argv: (same ? cmdline : command.map((arg) => Buffer.from(arg))).map((arg) => arg.slice()),
    envp: environ
      .filter((entry) => !text(entry).startsWith(`${variable}=`))
      .map((entry) => entry.slice()),
  }
}

/** Paths at which execvp looks for a command. */
export const commandCandidates = (
  name: Uint8Array,
  envp: readonly Uint8Array[],
): readonly Uint8Array[] => {
  if (name.includes(SLASH) || name.length === 0) return [name]
  const path = envp.map(text).find((entry) => entry.startsWith('PATH='))
  return (path?.slice(5) ?? '/bin:/usr/bin')
    .split(':')
    .map((directory) => Buffer.concat([Buffer.from(directory === '' ? '' : `${directory}/`), name]))
}
