/** A PCI device under `run`: sysfs, device node, DMA through the IOMMU's tables, an interrupt. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { PYTHON, RUNS, unless } from './programs.ts'

const example = join(import.meta.dirname, '../../examples/edu.py')

describe.skipIf(!RUNS[0] || !PYTHON[0])(`a PCI device${unless(RUNS, PYTHON)}`, () => {
  test('the Python driver of edu finds it, moves bytes by DMA and gets the interrupt', async () => {
    const device = 'edu,addr=0000:00:05.0,group=7'
    const { stdout, stderr } = await iommufdUser(['run', '--device', device, 'python3', example])
    expect(stderr).toBe('')
    expect(stdout).toBe('0000:00:05.0 is vfio0, in group 7\ninterrupts: 1\ncopied\n')
  })

  test('its group has the reserved regions of the platform', async () => {
    const regions = '/sys/kernel/iommu_groups/0/reserved_regions'
    const { stdout } = await iommufdUser([
      'run',
      '--platform=amd-server',
      '--device=edu',
      'cat',
      regions,
    ])
    expect(stdout).toBe(
      '0x00000000fee00000 0x00000000feefffff msi\n0x000000fd00000000 0x000000ffffffffff reserved\n',
    )
  })

  test('a platform or an address that does not exist is refused in a sentence', async () => {
    const platform = await iommufdUser(['run', '--platform=nosuch', '--device=edu', 'true'])
    expect(platform.status).toBe(125)
    expect(platform.stderr).toContain("There is no platform 'nosuch'")
    const address = await iommufdUser(['run', '--device=edu,addr=zz', 'true'])
    expect(address.status).toBe(125)
    expect(address.stderr).toContain('addr=zz')
  })
})
