/**
 * import() for modules of users' own. On its own, and loaded with require: code that V8 has compiled
 * before (keepCompiled in scripts/build.js) has lost what import() needs, as of Node 20.
 */
import { pathToFileURL } from 'node:url'

export const importFile = (path: string): Promise<Readonly<Record<string, unknown>>> =>
  import(pathToFileURL(path).href)
