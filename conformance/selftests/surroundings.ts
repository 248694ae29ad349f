/**
 * What of the machine the test programs need, and which tests fail without it on a real kernel too
 * (05 §A.10, §B.6).
 */
import { readFileSync, writeFileSync } from 'node:fs'

const NR_HUGEPAGES = '/proc/sys/vm/nr_hugepages'
/** The largest test maps 128 MiB of huge pages. */
const HUGE_PAGES_NEEDED = 64
const HUGE_PAGES_ASKED = 128

export interface Missing {
  readonly what: string
  readonly fails: (test: string) => boolean
}

const needsHugePages = (test: string): boolean =>
  test.endsWith('.access_domain_destory') ||
  /^iommufd_mock_domain\.\w+_hugepage\.(basic|all_aligns|all_aligns_copy)$/.test(test) ||
  /^iommufd_dirty_tracking\.\w+_huge\./.test(test) ||
  test.endsWith('.huge_map')

const needsSysResource = (test: string): boolean =>
  test === 'iommufd.global_options' || /^change_process\.account_(user|mm)\./.test(test)

/** Asks for huge pages where it may, and tells what is still missing. */
export const prepareSurroundings = (): Missing[] => {
  const missing: Missing[] = []
  if (hugePages() < HUGE_PAGES_NEEDED) askForHugePages()
  if (hugePages() < HUGE_PAGES_NEEDED)
    missing.push({ what: `${HUGE_PAGES_NEEDED} huge pages of 2 MiB`, fails: needsHugePages })
  if (!hasCapability(CAP_SYS_RESOURCE))
    missing.push({ what: 'CAP_SYS_RESOURCE', fails: needsSysResource })
  return missing
}

const CAP_SYS_RESOURCE = 24n

const hasCapability = (bit: bigint): boolean => {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return ((BigInt(`0x${line?.[1] ?? '0'}`) >> bit) & 1n) === 1n
}

const hugePages = (): number => Number(readFileSync(NR_HUGEPAGES, 'utf8'))

const askForHugePages = (): void => {
  try {
    writeFileSync(NR_HUGEPAGES, String(HUGE_PAGES_ASKED))
  } catch {
    // Only root of the machine may; the caller reports what is missing.
  }
}
