import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The benchmarks run bundled, one directory below the repository's root, as scripts/bench.js puts them. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
export const command = join(root, 'bin', 'iommufd-user')
export const benchSource = (file: string): string => join(root, 'bench', file)
