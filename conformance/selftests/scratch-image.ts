/** A disk for a simulated device; it goes when this process ends. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MEBIBYTE = 2 ** 20

/** Path of an empty, sparse image. */
export const scratchImage = (mebibytes: number): string => {
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-disk-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'disk.img')
  writeFileSync(path, '')
  truncateSync(path, mebibytes * MEBIBYTE)
  return path
}
