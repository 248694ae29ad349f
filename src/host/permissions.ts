/** Permission of a thread on our nodes, which belong to whoever started the run. */
import { readFileSync } from 'node:fs'
import { OWNER } from './stat.ts'

const CAP_DAC_OVERRIDE = 1n << 1n
const S_IFDIR = 0o040000
const S_IFMT = 0o170000

/** `wanted`: R_OK 4, W_OK 2, X_OK 1; `mode`: type and permission bits. */
export const permits = (tid: number, mode: number, wanted: number): boolean => {
  const status = statusOf(tid)
  const { uid, gids } = status
  const bits = uid === OWNER.uid ? mode >> 6 : gids.includes(OWNER.gid) ? mode >> 3 : mode
  if ((bits & wanted) === wanted) return true
  const executable = (mode & S_IFMT) === S_IFDIR || (mode & 0o111) !== 0
  return status.overrides && ((wanted & 1) === 0 || executable)
}

/** Identity for file access: the file system IDs. */
const statusOf = (tid: number): { uid: number; gids: number[]; overrides: boolean } => {
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
    uid: Number(field('Uid')[3] ?? OWNER.uid),
    gids: [field('Gid')[3] ?? '-1', ...field('Groups')].map(Number),
    overrides: (BigInt(`0x${capabilities}`) & CAP_DAC_OVERRIDE) !== 0n,
  }
}
