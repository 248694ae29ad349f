import { spawn } from 'node:child_process'

const openers: Readonly<Record<string, readonly string[]>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', ''],
}

/** Opens an address in the browser of whoever sits here; says so where there is none. */
export const openBrowser = (url: string): void => {
  const [program = 'xdg-open', ...args] = openers[process.platform] ?? ['xdg-open']
  const child = spawn(program, [...args, url], { stdio: 'ignore', detached: true })
  child.on('error', () => {
    process.stderr.write(
      `iommufd-user: No browser could be opened (${program} is not there): open the address yourself.\n`,
    )
  })
  child.unref()
}
