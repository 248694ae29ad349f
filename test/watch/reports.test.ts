/** The doctor's report in each of its formats, of one run with all that a report can have. */
import { describe, expect, test } from 'vitest'
import { iova } from '../../src/abi/brands.ts'
import type { EngineEvent } from '../../src/engine/events.ts'
import { MapMeetsArea, MapMeetsReserved } from '../../src/engine/ioas-iova.ts'
import { ObjectInUse } from '../../src/engine/objects.ts'
import { allFindingKinds } from '../../src/watch/all-finders.ts'
import { Doctor, findingsThatFail } from '../../src/watch/doctor.ts'
import type { ReportedRun } from '../../src/watch/report.ts'
import { reportJson } from '../../src/watch/report-json.ts'
import { reportJunit } from '../../src/watch/report-junit.ts'
import { reportSarif, sarifLog } from '../../src/watch/report-sarif.ts'
import { reportText } from '../../src/watch/report-text.ts'
import { call } from './calls.ts'
import { attached, fault, mapDma, mapped, opened, PAGE, refused } from './streams.ts'

const area = { start: iova(0x1000n), last: iova(0x1fffn) }
const overlap = (number: number): EngineEvent =>
  refused(number, MapMeetsArea, { start: 0x1000n, last: 0x1fffn, area, source: 'memory' })

const events: readonly EngineEvent[] = [
  call({ call: 1, operation: 'open', file: '/dev/iommu', context: undefined }),
  ...opened(),
  ...attached(4, '0000:00:03.0'),
  call({ call: 4, request: 0x3b77, file: '/dev/vfio/devices/vfio0', context: undefined }),
  mapped(5, 0x1000n, PAGE),
  call({ call: 5, request: 0x3b85, pid: 42, tid: 43 }),
  ...Array.from({ length: 6 }, (_, i) => overlap(6 + i)),
  fault(0x9000n),
  { type: 'context-released', context: 1, call: 0 },
]

const reportOf = (stream: readonly EngineEvent[]) => {
  const doctor = new Doctor()
  for (const event of stream) doctor.event(event)
  return doctor.report()
}

const report = reportOf(events)
const run: ReportedRun = {
  version: '1.2.3',
  command: ['./prog', '<"&\u0001>'],
  artifact: 'prog',
  failOn: 'warning',
  passed: false,
}

describe('explanations', () => {
  test('name the mapping that was in the way, and who made it', () => {
    const [failed] = report.failed
    expect(failed?.count).toBe(6)
    expect(failed?.explained).toHaveLength(3)
    expect(failed?.others).toEqual([9, 10, 11])
    expect(failed?.explained[0]?.evidence).toEqual([
      {
        call: 5,
        name: 'IOMMU_IOAS_MAP',
        pid: 42,
        tid: 43,
        what: '[0x1000, 0x1fff] was mapped to memory of process 100 (prog)',
      },
    ])
  })

  test('name the device that reserved a range, and when it came', () => {
    const fields = {
      start: 0xfee0_0000n,
      last: 0xfee0_0fffn,
      reserved: { start: iova(0xfee0_0000n), last: iova(0xfeef_ffffn) },
      purpose: 'the MSI window',
      owner: { toString: () => 'device 9 (0000:00:03.0)' },
    } as const
    const more = { ...mapDma(0xfee0_0000n, PAGE), file: '/dev/vfio/vfio' }
    const { failed } = reportOf([
      ...opened(),
      ...attached(4, '0000:00:03.0'),
      refused(5, MapMeetsReserved, fields, more),
    ])
    const [explanation] = failed[0]?.explained ?? []
    expect(explanation?.sentence).toBe(
      'VFIO_IOMMU_MAP_DMA of 0x1000 bytes at IOVA 0xfee00000 failed with EINVAL: the range [0xfee00000, 0xfee00fff] meets [0xfee00000, 0xfeefffff] (the MSI window), which device 9 (0000:00:03.0) reserves.',
    )
    expect(explanation?.evidence).toEqual([
      { call: 4, what: '0000:00:03.0 reserved it when it was attached to IOAS 1' },
    ])
    expect(explanation?.advice).toContain('IOAS_IOVA_RANGES')
  })

  test('name what uses an object that is busy', () => {
    const { failed } = reportOf([
      ...opened(),
      refused(5, ObjectInUse, { id: 7, object: 'hwpt', users: 1, by: ['ioas 1'] }),
    ])
    expect(failed[0]?.explained[0]?.evidence).toEqual([{ call: 2, what: 'IOAS 1 was made' }])
  })
})

test('text: failed calls, findings with the worst first, and a count', () => {
  const text = reportText(report)
  expect(text).toContain('3 more calls failed so: #9, #10 and #11.')
  expect(text.indexOf('[map-meets-area]')).toBeLessThan(text.indexOf('[dma-fault]'))
  expect(text.trimEnd().endsWith('The doctor looked at 9 calls: 6 failed; 1 error.')).toBe(true)
  expect(reportText(reportOf([]))).toBe('The doctor looked at 0 calls: none failed; no findings.\n')
})

test('json: everything, versioned', () => {
  expect(JSON.parse(reportJson(report, run))).toMatchObject({
    version: 1,
    tool: { name: 'iommufd-user', version: '1.2.3' },
    command: run.command,
    passed: false,
    calls: 9,
    failedCalls: [{ count: 6, others: [9, 10, 11] }],
    findings: [{ code: 'dma-fault', severity: 'error' }],
  })
})

describe('sarif 2.1.0', () => {
  const [log] = sarifLog(report, run).runs
  if (log === undefined) throw new Error('no run')

  test('has what the schema requires, and nothing that JSON cannot say', () => {
    const parsed = JSON.parse(reportSarif(report, run))
    expect(parsed.version).toBe('2.1.0')
    expect(parsed.$schema).toMatch(/^https:.*sarif.*2\.1\.0/)
    expect(parsed.runs).toHaveLength(1)
    expect(parsed.runs[0].tool.driver.name).toBe('iommufd-user')
    expect(parsed).toEqual(sarifLog(report, run))
  })

  test('rules are unique, with stable ids, and results point at them', () => {
    const ids = log.tool.driver.rules.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const rule of log.tool.driver.rules) {
      expect(['none', 'note', 'warning', 'error']).toContain(rule.defaultConfiguration.level)
      expect(rule.shortDescription.text).not.toBe('')
    }
    expect(log.results).toHaveLength(report.findings.length)
    for (const result of log.results) {
      expect(ids[result.ruleIndex]).toBe(result.ruleId)
      expect(['none', 'note', 'warning', 'error']).toContain(result.level)
      expect(result.message.text).not.toBe('')
    }
  })

  test('each result has a place, as code scanning wants it', () => {
    for (const { locations } of log.results) {
      expect(locations.length).toBeGreaterThan(0)
      for (const { physicalLocation } of locations) {
        expect(physicalLocation.artifactLocation.uri).toBe('prog')
        expect(physicalLocation.artifactLocation.index).toBe(0)
        expect(physicalLocation.region.startLine).toBeGreaterThanOrEqual(1)
      }
    }
    expect(log.artifacts[0]?.location.uri).toBe('prog')
  })

  test('the same finding has the same fingerprint, whatever the numbers', () => {
    const elsewhere = sarifLog(reportOf([...opened(), fault(0x5000n)]), run).runs[0]
    expect(elsewhere?.results[0]?.partialFingerprints).toEqual(log.results[0]?.partialFingerprints)
  })

  test('where the caller is known, it is the logical location', () => {
    const place = { module: '/usr/bin/prog', symbol: 'map_buffer', offset: 0x1c }
    const finding = {
      severity: 'warning',
      code: 'iova-not-portable',
      sentence: 'A.',
      evidence: [{ call: 3, place, what: 'b' }],
      advice: 'C.',
    } as const
    const [result] =
      sarifLog({ calls: 1, failed: [], findings: [finding] }, run).runs[0]?.results ?? []
    expect(result?.locations[0]).toMatchObject({
      logicalLocations: [{ name: 'map_buffer', kind: 'function' }],
    })
    expect(result?.message.text).toContain('map_buffer+0x1c of prog')
  })
})

describe('junit', () => {
  const xml = reportJunit(report, run)

  /** Elements as a stack machine reads them: names that open, in order; throws where they do not nest. */
  const elementsOf = (text: string): { readonly name: string; readonly attributes: string }[] => {
    const elements: { name: string; attributes: string }[] = []
    const open: string[] = []
    const tag = /<(\/?)([a-z-]+)((?: [a-z]+="[^"<&]*(?:&(?:amp|lt|gt|quot);[^"<&]*)*")*)(\/?)>/g
    const body = text.replace(/^<\?xml version="1.0" encoding="UTF-8"\?>\n/, '')
    for (const [, closing, name = '', attributes = '', empty] of body.matchAll(tag)) {
      if (closing === '/') expect(open.pop()).toBe(name)
      else {
        elements.push({ name, attributes })
        if (empty !== '/') open.push(name)
      }
    }
    expect(open).toEqual([])
    // What is no tag is text, in which nothing has to be escaped any more.
    expect(body.replace(tag, '')).not.toMatch(/[<>]|&(?!(amp|lt|gt|quot);)/)
    return elements
  }

  test('is well-formed, whatever the program is called', () => {
    const elements = elementsOf(xml)
    expect(elements[0]?.name).toBe('testsuites')
    expect(elements[1]?.name).toBe('testsuite')
    expect(xml).toContain('./prog &lt;&quot;&amp;\ufffd&gt;')
  })

  test('counts what it has: a test for each kind of finding, and one for failed calls', () => {
    const elements = elementsOf(xml)
    const cases = elements.filter(({ name }) => name === 'testcase')
    const failures = elements.filter(({ name }) => name === 'failure')
    expect(cases).toHaveLength(allFindingKinds.length + 1)
    for (const { attributes } of cases) expect(attributes).toMatch(/classname="\S+" name="[^"]+"/)
    for (const { attributes } of failures) expect(attributes).toMatch(/message="[^"]+" type="\S+"/)
    for (const { attributes } of elements.slice(0, 2)) {
      expect(attributes).toContain(`tests="${cases.length}"`)
      expect(attributes).toContain(`failures="${failures.length}"`)
    }
    expect(failures).toHaveLength(1)
  })

  test('what is not bad enough does not fail', () => {
    const { length } = elementsOf(reportJunit(report, { ...run, failOn: 'error' })).filter(
      ({ name }) => name === 'failure',
    )
    expect(length).toBe(findingsThatFail(report, 'error').length)
    expect(findingsThatFail(reportOf([]), 'note')).toEqual([])
  })
})
