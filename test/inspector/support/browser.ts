/** Pages in a real browser: Debian's Chromium, driven by playwright-core. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { packageRoot } from '../../../src/host/built-file.ts'

const executable = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path) => existsSync(path))

export const CHROMIUM = [executable !== undefined, 'Chromium'] as const

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: executable ?? '',
    // As root it does not run otherwise; nothing but our own pages is opened.
    args: ['--no-sandbox'],
  })

/** A built page as a file: `dist/playground/index.html`. */
export const builtPage = (name: 'inspector' | 'playground'): string =>
  pathToFileURL(join(packageRoot(), `dist/${name}/index.html`)).href

export const WIDE = { width: 1280, height: 800 }
export const NARROW = { width: 400, height: 860 }

export interface Opened {
  readonly page: Page
  /** Errors of the page, and what it asked the network for. */
  readonly problems: string[]
}

export const open = async (
  browser: Browser,
  url: string,
  options: { viewport?: typeof WIDE; colorScheme?: 'light' | 'dark' } = {},
): Promise<Opened> => {
  const context = await browser.newContext({ viewport: WIDE, ...options })
  const page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.stack ?? error.message))
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text())
  })
  const { origin } = new URL(url)
  page.on('request', (request) => {
    const asked = new URL(request.url())
    if (asked.protocol !== 'data:' && asked.origin !== origin) problems.push(request.url())
  })
  await page.goto(url)
  return { page, problems }
}

/** For people who look at what CI saw; not in the repository. */
export const screenshot = async (page: Page, name: string): Promise<void> => {
  const directory = join(packageRoot(), 'artefacts/inspector')
  mkdirSync(directory, { recursive: true })
  await page.screenshot({ path: join(directory, `${name}.png`) })
}

/** Pixels by which the page is wider than its window. */
export const overflow = (page: Page): Promise<number> =>
  page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')

/** What can be operated but has no name for those who cannot see it. */
export const nameless = (page: Page): Promise<string[]> =>
  page.evaluate<string[]>(`
    [...document.querySelectorAll('button, select, input, [role=button], [role=tab], [role=application], [tabindex="0"]')]
      .filter((element) => {
        const labels = element.labels === undefined || element.labels === null ? [] : [...element.labels]
        const name = element.getAttribute('aria-label') ?? element.textContent ?? ''
        const image = element.querySelector?.('svg[aria-label]')
        return name.trim() === '' && labels.length === 0 && image === null
      })
      .map((element) => element.outerHTML.slice(0, 120))`)
