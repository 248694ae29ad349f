import { readFileSync } from 'node:fs'
import type { Need } from '../../conformance/example.ts'

const CAP_SYS_RESOURCE = 24n

const effectiveCapabilities = (): bigint => {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return BigInt(`0x${line?.[1] ?? '0'}`)
}

const hugePages = (): number => Number(readFileSync('/proc/sys/vm/nr_hugepages', 'utf8'))

/** What a client of this machine cannot have, whoever serves its ioctls. */
export const hostLacks = (): Need[] => {
  const lacks: Need[] = []
  if ((effectiveCapabilities() & (1n << CAP_SYS_RESOURCE)) === 0n)
    lacks.push('CAP_SYS_RESOURCE to drop')
  if (process.getuid?.() !== 0 && lacks.length > 0) lacks.push('CAP_SYS_RESOURCE')
  if (hugePages() === 0) lacks.push('huge-pages')
  return lacks
}
