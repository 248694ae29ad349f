import { bytesText } from './english.ts'
import type { Finder, FinderKind } from './finder.ts'
import type { FindingKind } from './finding.ts'

const kind: FindingKind = {
  code: 'near-memlock-limit',
  severity: 'warning',
  title: 'The program has nearly as much memory pinned as RLIMIT_MEMLOCK permits.',
  why:
    'Beyond the limit mapping fails with ENOMEM: on a machine with a lower limit, or with one device or ' +
    'one buffer more. iommufd counts by user, type1 by process.',
}

/** Of the limit. */
const NEAR = 0.9
const PAGE = 4096n

const makeFinder = (): Finder => {
  const told = new Set<string>()
  return (event, report) => {
    if (event.type !== 'memory-charged' || event.charged < event.limit * NEAR) return
    const { call, pid, mode, charged, limit } = event
    const key = `${pid} ${mode}`
    if (told.has(key)) return
    told.add(key)
    const whose = mode === 'user' ? 'its user' : 'it'
    report({
      severity: kind.severity,
      code: kind.code,
      sentence: `Process ${pid} has ${bytesText(BigInt(charged) * PAGE)} pinned for ${whose}, of the ${bytesText(BigInt(limit) * PAGE)} that RLIMIT_MEMLOCK permits.`,
      evidence: [{ call, what: `it pinned ${bytesText(BigInt(event.pages) * PAGE)} more` }],
      advice:
        'Raise the limit where the program is started (ulimit -l, LimitMEMLOCK=), or unmap what is not needed; do not count on CAP_IPC_LOCK.',
    })
  }
}

export const memlockLimit: FinderKind = { finds: [kind], make: makeFinder }
