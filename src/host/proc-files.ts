/** Files of /proc that say or take something of ours: a process's status, and its threads' fail-nth. */
import { readFileSync } from 'node:fs'
import { parseFailNth } from '../engine/fault-injection.ts'
import { type Result, reasonKind, refuse } from '../engine/reason.ts'
import type { HostedSystem, TextFile } from './hosted-system.ts'
import type { Tasks } from './tasks.ts'

const NotACount = reasonKind<{ text: string }>({
  code: 'fail-nth-not-a-count',
  errno: 'EINVAL',
  cite: '05 §B.10.2',
  say: ({ text }) => `${JSON.stringify(text)} is not a number from 0 to 2^32-1`,
  advice: 'Write a decimal number to fail-nth; 0 disarms.',
})

const KIB_PER_PAGE = 4n

export class ProcFiles {
  readonly #system: HostedSystem
  readonly #tasks: Tasks

  constructor(system: HostedSystem, tasks: Tasks) {
    this.#system = system
    this.#tasks = tasks
  }

  /** The file at a path under /proc in which `self` has been replaced, if it is to be ours. */
  find(path: string): TextFile | undefined {
    const match = /^\/proc\/(\d+)(?:\/task\/(\d+))?\/(status|fail-nth)$/.exec(path)
    if (match === null) return undefined
    const pid = Number(match[1])
    return match[3] === 'status' ? this.#status(pid, path) : this.#failNth(Number(match[2] ?? pid))
  }

  /** The real file, with what the engine has charged added to VmLck and VmPin. */
  #status(pid: number, path: string): TextFile | undefined {
    const space = this.#tasks.process(pid)?.knownAddressSpace
    const charged = space && this.#system.lockedPages?.(space)
    if (charged === undefined || (charged.locked === 0 && charged.pinned === 0)) return undefined
    return {
      kind: 'text',
      permissions: 0o444,
      content: () =>
        added(
          added(readFileSync(path, 'latin1'), 'VmLck', charged.locked),
          'VmPin',
          charged.pinned,
        ),
    }
  }

  #failNth(tid: number): TextFile | undefined {
    const { faults } = this.#system
    if (faults === undefined) return undefined
    return {
      kind: 'text',
      permissions: 0o644,
      live: true,
      content: () => `${faults.state(tid).remaining}\n`,
      write: (bytes): Result<number> => {
        const text = Buffer.from(bytes).toString('latin1')
        const nth = parseFailNth(text)
        if (nth === undefined) return refuse(NotACount, { text })
        faults.arm(tid, nth)
        return bytes.length
      },
    }
  }
}

/** Adds pages to a line of the file, as a 64-bit number of KiB that wraps as Linux's does. */
const added = (status: string, name: string, pages: number): string =>
  status.replace(new RegExp(`^(${name}:\\s*)(\\d+) kB$`, 'm'), (_, before: string, kib: string) => {
    const sum = BigInt.asUintN(64, (BigInt(kib) / KIB_PER_PAGE + BigInt(pages)) * KIB_PER_PAGE)
    return `${before.trimEnd()}${String(sum).padStart(before.length + kib.length - before.trimEnd().length)} kB`
  })
