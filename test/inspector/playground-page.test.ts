/** The playground in a real browser: no server, no network, the engine in the page. */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildPage } from '../../scripts/build-page.js'
import { unless } from '../host/programs.ts'
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

describe.skipIf(!CHROMIUM[0])(`the playground${unless(CHROMIUM)}`, () => {
  let browser: Browser

  beforeAll(async () => {
    await buildPage('playground')
    browser = await launch()
  })

  afterAll(() => browser?.close())

  it('steps through the founding question, and shows it in every view', async () => {
    const { page, problems } = await open(browser, builtPage('playground'))
    const log = page.getByRole('log')
    await page.getByRole('button', { name: 'Step' }).click()
    await expect.poll(() => log.textContent()).toContain('container = open /dev/iommu')
    await page.getByRole('button', { name: 'Run all' }).click()
    await expect.poll(() => log.textContent()).toContain('"memory two"')
    expect(await log.textContent()).toContain('"memory one"')
    // Two address spaces side by side.
    await expect
      .poll(() => page.getByRole('combobox', { name: 'I/O address space beside it' }).inputValue())
      .toBe('3')
    await screenshot(page, 'playground-founding-question')
    await page.getByRole('tab', { name: 'Findings (1)' }).click()
    await page.getByText('One container now spans 2 IOASes').waitFor()
    await page.getByRole('button', { name: 'show' }).click()
    await page.getByRole('heading', { name: 'IOMMU_VFIO_IOAS' }).waitFor()
    await page.getByRole('tab', { name: 'Objects' }).click()
    await page
      .getByRole('button', { name: /^ioas 1,/ })
      .first()
      .click()
    await page.getByText('access 2 (scratch0) is attached to it').waitFor()
    expect(problems).toEqual([])
  })

  it('answers what is typed, and completes it', async () => {
    const { page, problems } = await open(browser, builtPage('playground'))
    await page.getByRole('combobox', { name: 'Scenario' }).selectOption('')
    const prompt = page.getByRole('combobox', { name: 'Call' })
    const log = page.getByRole('log')
    await prompt.fill('iommu = open /dev/iommu')
    await prompt.press('Enter')
    await prompt.pressSequentially('one = IOAS_AL')
    await page.getByRole('option', { name: /IOAS_ALLOC/ }).waitFor()
    await prompt.press('Tab')
    await expect.poll(() => prompt.inputValue()).toBe('one = IOAS_ALLOC ')
    await prompt.press('Enter')
    await expect.poll(() => log.textContent()).toContain('out_ioas_id=1')
    await prompt.pressSequentially('IOAS_MAP ioas_id=one fl')
    await prompt.press('Tab')
    await prompt.pressSequentially('FIX')
    await prompt.press('Tab')
    await expect.poll(() => prompt.inputValue()).toBe('IOAS_MAP ioas_id=one flags=FIXED_IOVA ')
    await prompt.press('Enter')
    await expect.poll(() => log.textContent()).toContain('EINVAL')
    await prompt.fill('help IOAS_MAP')
    await prompt.press('Enter')
    await expect.poll(() => log.textContent()).toContain("Maps the caller's memory into an IOAS.")
    expect(problems).toEqual([])
  })

  it('walks a page table, also that of an earlier moment', async () => {
    const { page, problems } = await open(browser, `${builtPage('playground')}#narrow`)
    await page.getByRole('tab', { name: 'Page table' }).click()
    await page.getByText('0x7ffff00000 translates to physical').waitFor()
    await page.getByRole('textbox', { name: 'IOVA to walk' }).fill('0x4000')
    await page.getByRole('button', { name: 'Walk', exact: true }).click()
    await page.getByText('0x4000 does not translate').waitFor()
    await page.getByRole('textbox', { name: 'IOVA to walk' }).fill('0x7ffff00000')
    await page.getByRole('button', { name: 'Walk', exact: true }).click()
    await page.getByText('0x7ffff00000 translates to physical').waitFor()
    // Before the mapping was made.
    await page.getByRole('slider').fill('6')
    await page.getByText('0x7ffff00000 does not translate').waitFor()
    expect(problems).toEqual([])
  })

  it.each([WIDE, NARROW])('fits a window of $width pixels', async (viewport) => {
    const { page, problems } = await open(browser, `${builtPage('playground')}#destroy-busy`, {
      viewport,
      colorScheme: 'dark',
    })
    for (const tab of await page.getByRole('tab').all()) {
      await tab.click()
      expect(await overflow(page)).toBe(0)
      expect(await nameless(page)).toEqual([])
    }
    await page.getByRole('tab', { name: 'Objects' }).click()
    await page.getByRole('slider').fill('8')
    await page
      .getByRole('button', { name: /^hwpt-paging 3/ })
      .first()
      .click()
    await page.getByText('Detach or close device 1').waitFor()
    await screenshot(page, `playground-busy-${viewport.width}`)
    expect(problems).toEqual([])
  })
})
