import { spawn } from 'node:child_process'
import { delimiter, dirname, join } from 'node:path'
import { packageRoot } from '../../src/host/built-file.ts'

export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export const binary = join(packageRoot(), 'bin', 'iommufd-user')

/** Runs the command with these arguments, to its end. */
export const iommufdUser = (
  args: readonly string[],
  options: {
    readonly stdin?: string
    readonly env?: NodeJS.ProcessEnv
    readonly cwd?: string
    /** PATH, with nothing added: Node is then started by its own path. */
    readonly path?: string
  } = {},
): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const env = options.env ?? process.env
    // The Node that runs the tests, whichever others there are.
    const path = options.path ?? `${dirname(process.execPath)}${delimiter}${env['PATH'] ?? ''}`
    const [command, first] =
      options.path === undefined ? [binary, []] : [process.execPath, [binary]]
    const child = spawn(command, [...first, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: options.cwd,
      env: { ...env, PATH: path },
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }))
    child.stdin.on('error', () => {})
    child.stdin.end(options.stdin ?? '')
  })
