/** What a thread may do with our nodes. */
import { readFileSync } from 'node:fs'
import type { Stat } from './stat.ts'

const CAP_CHOWN = 1n << 0n
const CAP_DAC_OVERRIDE = 1n << 1n
const CAP_FOWNER = 1n << 3n
const S_IFDIR = 0o040000
const S_IFMT = 0o170000

/** `wanted`: R_OK 4, W_OK 2, X_OK 1; `mode`: type and permission bits. */
export const permits = (tid: number, { mode, uid: owner, gid }: Stat, wanted: number): boolean => {
  const status = statusOf(tid)
  const { uid, gids } = status
  const bits = uid === owner ? mode >> 6 : gids.includes(gid) ? mode >> 3 : mode
  if ((bits & wanted) === wanted) return true
  const executable = (mode & S_IFMT) === S_IFDIR || (mode & 0o111) !== 0
  return has(status, CAP_DAC_OVERRIDE) && ((wanted & 1) === 0 || executable)
}

/** Whether it may chmod. */
export const ownsNode = (tid: number, { uid }: Stat): boolean => {
  const status = statusOf(tid)
  return status.uid === uid || has(status, CAP_FOWNER)
}

/** Whether it may chown to somebody else. */
export const givesAway = (tid: number): boolean => has(statusOf(tid), CAP_CHOWN)

interface Status {
  readonly uid: number
  readonly gids: readonly number[]
  readonly capabilities: bigint
}

const has = ({ capabilities }: Status, capability: bigint): boolean =>
  (capabilities & capability) !== 0n

/** Identity for file access: the file system IDs. */
const statusOf = (tid: number): Status => {
  let text = ''
  try {
    text = readFileSync(`/proc/${tid}/status`, 'latin1')
  } catch {
    // Gone: nobody waits for the answer.
  }
  const field = (name: string): string[] =>
    new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1]?.trim().split(/\s+/) ?? []
  const [capabilities = '0'] = field('CapEff')
  return {
    uid: Number(field('Uid')[3] ?? -1),
    gids: [field('Gid')[3] ?? '-1', ...field('Groups')].map(Number),
    capabilities: BigInt(`0x${capabilities}`),
  }
}
