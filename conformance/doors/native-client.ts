/** The C client, compiled on first use where a C compiler is. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/host/built-file.ts'

/** Path of the compiled client; undefined where it cannot be compiled. */
export const builtClient = ({ isStatic }: { isStatic: boolean }): string | undefined => {
  const source = join(packageRoot(), 'conformance/client.c')
  const version = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12)
  const directory = join(packageRoot(), 'node_modules/.cache/iommufd-user')
  const program = join(directory, `client-${isStatic ? 'static' : 'dynamic'}-${version}`)
  if (existsSync(program)) return program
  mkdirSync(directory, { recursive: true })
  const unfinished = `${program}.${process.pid}`
  const flags = isStatic ? ['-static'] : []
  const { status } = spawnSync('cc', ['-O1', ...flags, source, '-o', unfinished])
  if (status !== 0) return undefined
  renameSync(unfinished, program)
  return program
}
