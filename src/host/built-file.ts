import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Path of a built program of this package, `builtFile('host/launcher-main.js')`: the same whether the
 * caller runs from dist/ or, in a test, from src/.
 */
export const builtFile = (name: string): string => join(packageRoot(), 'dist', name)

/** Directory of this package's package.json. */
export const packageRoot = (): string => {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory)
    if (parent === directory)
      throw new Error('the files of iommufd-user are not inside its package')
    directory = parent
  }
  return directory
}
