/**
 * Ending this process without what Node does at its end: it puts the terminal back into the modes that it
 * had at the start, which would undo what the program has changed (`run -- stty -echo`).
 */
import { isatty } from 'node:tty'

/** Returns if no terminal is concerned: then Node's own way does. */
export const exitNow = async (status: number): Promise<void> => {
  if (![0, 1, 2].some((fd) => isatty(fd))) return
  try {
    // Loaded only here, since it would delay the start of the program.
    const { default: koffi } = await import('koffi')
    koffi.load(null).func('void _exit(int)')(status)
  } catch {
    // The terminal's modes are the lesser evil.
  }
}
