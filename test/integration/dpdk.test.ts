/**
 * DPDK, unmodified: its environment layer finds VFIO and the device, takes group and container, maps its
 * memory and the registers, sets up MSI-X; its own driver of I/OAT initialises the channel (06 §11.5).
 */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { LOCKS_MUCH, RUNS, unless } from '../host/programs.ts'

const installed = (program: string): boolean =>
  spawnSync('sh', ['-c', `command -v ${program}`]).status === 0

const DPDK = [installed('dpdk-test'), 'dpdk-test'] as const
const DEVBIND = [installed('dpdk-devbind.py') && installed('lspci'), 'dpdk-devbind.py'] as const

const IOAT = '--device=ioat,addr=0000:01:00.0'

describe.skipIf(!RUNS[0])(`DPDK${unless(RUNS)}`, () => {
  test.skipIf(!DPDK[0] || !LOCKS_MUCH[0])(
    `its driver takes a device${unless(DPDK, LOCKS_MUCH)}`,
    async () => {
      const memory = ['--no-huge', '-m', '32', `--file-prefix=test${process.pid}`]
      const options = [...memory, '-l', '0', '--no-telemetry', '--log-level=lib.eal:debug']
      const { stdout, stderr, status } = await iommufdUser(
        ['run', IOAT, 'timeout', '100', 'dpdk-test', ...options],
        { stdin: 'quit\n' },
      )
      const output = stdout + stderr
      expect(output).toContain('Using IOMMU type 1 (Type 1)')
      expect(output).toContain('VFIO reports MSI-X BAR as mappable')
      expect(output).toContain('Probe PCI driver: dmadev_ioat (8086:2021) device: 0000:01:00.0')
      // It closes what it has initialised.
      expect(output).toContain('ioat_dmadev_remove(): Closing 0000:01:00.0')
      expect(status).toBe(0)
    },
  )

  test.skipIf(!DEVBIND[0])(
    `dpdk-devbind.py unbinds, binds and lists it${unless(DEVBIND)}`,
    async () => {
      const bind = 'dpdk-devbind.py -b vfio-pci 0000:01:00.0'
      const script = `dpdk-devbind.py -u 0000:01:00.0; ls /dev/vfio; ${bind}; dpdk-devbind.py --status-dev dma`
      const { stdout } = await iommufdUser(['run', IOAT, 'sh', '-c', script])
      // No group and no device file in between.
      expect(stdout).toMatch(/^vfio\n/)
      expect(stdout).toMatch(/0000:01:00\.0 .* drv=vfio-pci/)
    },
  )
})
