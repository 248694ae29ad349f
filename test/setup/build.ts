import { bundle } from '../../scripts/build.js'

/** Programs under test (the command, the launcher) are built from the sources as they are now. */
export const setup = async (): Promise<void> => {
  await bundle()
}
