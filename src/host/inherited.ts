/**
 * What this process was started with, before Node changed it: ignored and blocked signals, the limit on
 * open files, descriptors. `bin/iommufd-user` notes them in the environment; without it they are what
 * they usually are.
 */
import type { Inherited } from './run-protocol.ts'

/** `ignored blocked nofile fd fd ...`, signals in hexadecimal as in /proc/self/status. */
export const INHERITED_VARIABLE = 'IOMMUFD_USER_INHERITED'

export const inherited = (): Inherited => {
  const words = process.env[INHERITED_VARIABLE]?.trim().split(/\s+/) ?? []
  const [ignoredSignals = '0', blockedSignals = '0', openFiles, ...descriptors] = words
  return {
    ignoredSignals,
    blockedSignals,
    openFiles,
    descriptors: words.length > 0 ? descriptors.map(Number) : [0, 1, 2],
  }
}
