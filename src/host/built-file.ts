import { existsSync, readFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { constants, Script } from 'node:vm'

/**
 * Path of a built program of this package, `builtFile('host/launcher-main.cjs')`: the same whether the
 * caller runs from dist/ or, in a test, from src/.
 */
export const builtFile = (name: string): string => join(packageRoot(), 'dist', name)

/**
 * Loads a built program into this process: what it exports, which the caller knows the type of. Compiling
 * a large one takes longer than all else that it does at its start, so the build leaves V8's compiled form
 * beside it, good for the very Node that built it; another compiles it again.
 */
export const loadBuilt = <Exports>(name: string): Exports => {
  const file = builtFile(name)
  const cache = `${file}.${process.version}`
  const require = createRequire(file)
  if (!existsSync(cache)) return require(file)
  const script = new Script(Module.wrap(readFileSync(file, 'utf8')), {
    filename: file,
    cachedData: readFileSync(cache),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  })
  const module = { exports: {} as Exports }
  script.runInThisContext()(module.exports, require, module, file, dirname(file))
  return module.exports
}

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
