/** The reasons that tests reach: `refuse` adds each to the set (setup/reached-reasons.ts). */

/** Codes of the reasons that the calls within were refused for. */
export const reasonsOf = (calls: () => void): readonly string[] => {
  const before = globalThis.reachedReasons ?? new Set<string>()
  globalThis.reachedReasons = new Set()
  calls()
  const reasons = [...globalThis.reachedReasons]
  noteReached([...before, ...reasons])
  return reasons
}

/** Reasons that were reached in another process. */
export const noteReached = (codes: readonly string[]): void => {
  globalThis.reachedReasons = new Set([...(globalThis.reachedReasons ?? []), ...codes])
}
