/**
 * The files in debugfs by which Linux's fault injection is set up (05 §A.10, §B.10.1). Of ours, the
 * countdown of fail-nth is all there is to it: they take what is written and give it back.
 */
import { readdirSync } from 'node:fs'
import type { SyntheticFile, TextFile } from './hosted-system.ts'

const DEBUGFS = '/sys/kernel/debug'

/** The standard fault attributes and what they are at first. */
const STANDARD: Readonly<Record<string, string>> = {
  probability: '0',
  interval: '0',
  times: '0',
  space: '0',
  verbose: '0',
  verbose_ratelimit_interval_ms: '0',
  verbose_ratelimit_burst: '10',
  'task-filter': 'N',
}

const INJECTORS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  failslab: { ...STANDARD, 'ignore-gfp-wait': 'Y', 'cache-filter': 'N' },
  fail_page_alloc: {
    ...STANDARD,
    'ignore-gfp-wait': 'Y',
    'ignore-gfp-highmem': 'Y',
    'min-order': '1',
  },
  fail_iommufd: STANDARD,
}

const attribute = (initial: string): TextFile => {
  let value = initial
  return {
    kind: 'text',
    permissions: 0o600,
    content: () => `${value}\n`,
    write: (bytes) => {
      value = Buffer.from(bytes).toString('latin1').trimEnd()
      return bytes.length
    },
  }
}

export const faultInjectionFiles = (): {
  readonly files: readonly SyntheticFile[]
  readonly opaqueDirectories: readonly string[]
} => ({
  files: Object.entries(INJECTORS).flatMap(([injector, attributes]) =>
    Object.entries(attributes).map(([name, initial]) => ({
      path: `${DEBUGFS}/${injector}/${name}`,
      node: attribute(initial),
    })),
  ),
  // Where the real one is closed to us, or not there, ours stands alone.
  opaqueDirectories: isReadable(DEBUGFS) ? [] : [DEBUGFS],
})

const isReadable = (directory: string): boolean => {
  try {
    return readdirSync(directory).length > 0
  } catch {
    return false
  }
}
