/** The inspector's page with a recording, in a real browser. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { unless } from '../host/programs.ts'
import { bigRecording } from './support/big-recording.ts'
import {
  builtPage,
  CHROMIUM,
  launch,
  NARROW,
  nameless,
  open,
  overflow,
  screenshot,
  WIDE,
} from './support/browser.ts'

const directory = mkdtempSync(join(tmpdir(), 'inspector-page-'))
const MAPPINGS = 100_000
/** The calls that map, and the one that makes the IOAS. */
const CALLS = MAPPINGS + 1

const drawn = async (page: Page): Promise<number> =>
  Number(await page.locator('canvas[data-drawn]').getAttribute('data-drawn'))

const load = async (page: Page, file: string, calls: number): Promise<void> => {
  await page.setInputFiles('input[type=file]', file)
  await page.getByText(`${calls} of ${calls}`).waitFor({ timeout: 110_000 })
}

describe.skipIf(!CHROMIUM[0])(`the page${unless(CHROMIUM)}`, () => {
  let browser: Browser
  const small = join(directory, 'small')
  const big = join(directory, 'big')

  beforeAll(async () => {
    browser = await launch()
    writeFileSync(small, bigRecording(50))
    writeFileSync(big, bigRecording(MAPPINGS))
  })

  afterAll(async () => {
    await browser?.close()
    rmSync(directory, { recursive: true, force: true })
  })

  it('opens a recording, shows calls and mappings, and goes back in time', async () => {
    const { page, problems } = await open(browser, builtPage('inspector'))
    await load(page, small, 51)
    await page.getByText('Areas in view: 50').waitFor()
    await page.getByRole('slider').fill('11')
    await page.getByText('11 of 51').waitFor()
    await page.getByText('Areas in view: 10').waitFor()
    // Calls that are still to come are there, and not chosen.
    expect(await page.locator('.call[aria-selected=true]').textContent()).toContain('IOAS_MAP')
    await page.getByRole('slider').fill('0')
    await page.getByText('No I/O address space exists at this moment.').waitFor()
    expect(problems).toEqual([])
  })

  it('stays smooth with 100,000 mappings and calls: what is drawn is bounded by the window', async () => {
    const { page, problems } = await open(browser, builtPage('inspector'))
    await load(page, big, CALLS)
    const bounded = async (): Promise<void> => {
      expect(await page.locator('.call').count()).toBeLessThan(80)
      expect(await page.locator('*').count()).toBeLessThan(1500)
      // Three pixels a row, and a few for each of ruler, stripes and labels.
      expect(await drawn(page)).toBeLessThan(WIDE.height)
    }
    await bounded()
    const map = page.getByRole('application')
    await map.focus()
    for (let zoom = 0; zoom < 30; zoom++) {
      await page.keyboard.press('+')
      await bounded()
    }
    await page.keyboard.press('Home')
    await bounded()
    await page.getByRole('slider').fill('50001')
    await page.keyboard.press('f')
    await page.getByText(`Areas in view: 50 and 49950 more`).waitFor()
    await bounded()
    await screenshot(page, 'hundred-thousand')
    await page.getByRole('searchbox').fill('iova=0x3200004000')
    await expect.poll(() => page.locator('.call').count()).toBe(1)
    expect(problems).toEqual([])
  })

  it('is worked with the keyboard alone', async () => {
    const { page } = await open(browser, builtPage('inspector'))
    await load(page, small, 51)
    const list = page.getByRole('listbox', { name: 'Calls' })
    await list.focus()
    await page.keyboard.press('Home')
    await page.getByText('1 of 51').waitFor()
    await page.keyboard.press('ArrowDown')
    await page.getByText('2 of 51').waitFor()
    await page.keyboard.press('.')
    await page.getByText('3 of 51').waitFor()
    await page.keyboard.press('l')
    await page.getByText('51 of 51').waitFor()

    const map = page.getByRole('application')
    const range = page.locator('.space code').first()
    await map.focus()
    const all = await range.textContent()
    await page.keyboard.press('+')
    await expect.poll(() => range.textContent()).not.toBe(all)
    await page.keyboard.press('f')
    await expect.poll(() => range.textContent()).toBe(all)
    await page.keyboard.press('Home')
    await expect.poll(() => range.textContent()).toBe('0x0 … 0xffffffffffffffff')
    await page.keyboard.press('n')
    await page.getByRole('region', { name: 'The area pointed at' }).waitFor()

    await page.getByRole('tab', { name: 'Address space' }).focus()
    await page.keyboard.press('ArrowRight')
    await page.getByRole('tab', { name: 'Objects', selected: true }).waitFor()
    await page
      .getByRole('button', { name: /^ioas 1/ })
      .first()
      .press('Enter')
    await page.getByText('Nothing uses it: IOMMU_DESTROY would succeed.').waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('alloc')
    await expect.poll(() => page.locator('.call').count()).toBe(1)
  })

  it('zooms towards the pointer with the wheel, and moves when dragged', async () => {
    const { page } = await open(browser, builtPage('inspector'))
    await load(page, small, 51)
    const range = page.locator('.space code').first()
    const box = await page.locator('.map').boundingBox()
    if (box === null) throw new Error('there is no map')
    const before = await range.textContent()
    await page.mouse.move(box.x + box.width / 2, box.y + 10)
    await page.mouse.wheel(0, -240)
    await expect.poll(() => range.textContent()).not.toBe(before)
    const zoomed = await range.textContent()
    await page.mouse.down()
    await page.mouse.move(box.x + box.width / 2, box.y - 60, { steps: 4 })
    await page.mouse.up()
    await expect.poll(() => range.textContent()).not.toBe(zoomed)
  })

  it('is light or dark as the system is, or as one chooses', async () => {
    const colour = (page: Page) =>
      page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
    const { page: light } = await open(browser, builtPage('inspector'), { colorScheme: 'light' })
    const { page: dark } = await open(browser, builtPage('inspector'), { colorScheme: 'dark' })
    expect(await colour(light)).not.toBe(await colour(dark))
    await light.getByRole('button', { name: 'Use dark colours' }).click()
    expect(await colour(light)).toBe(await colour(dark))
  })

  it.each([WIDE, NARROW])(
    'fits a window of $width pixels, and everything has a name',
    async (viewport) => {
      for (const colorScheme of ['light', 'dark'] as const) {
        const { page, problems } = await open(browser, builtPage('inspector'), {
          viewport,
          colorScheme,
        })
        await load(page, small, 51)
        for (const tab of await page.getByRole('tab').all()) {
          await tab.click()
          expect(await overflow(page)).toBe(0)
          expect(await nameless(page)).toEqual([])
          const name = (await tab.textContent())?.toLowerCase().replaceAll(/\W+/g, '-')
          await screenshot(page, `${name}-${colorScheme}-${viewport.width}`)
        }
        expect(problems).toEqual([])
      }
    },
  )

  it('says what is wrong with a file that is no recording', async () => {
    const { page } = await open(browser, builtPage('inspector'))
    await page.setInputFiles('input[type=file]', import.meta.filename)
    await page.getByText('This is no recording of iommufd-user').waitFor()
  })
})
