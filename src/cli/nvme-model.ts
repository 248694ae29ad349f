/** `--device nvme:disk.img`. */
import { resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { diskIdentity } from '../devices/nvme/identify.ts'
import { openImage } from '../devices/nvme/image-file.ts'
import { nvmeIdentity, nvmeMsix } from '../devices/nvme/pci-function.ts'
import { BAR_LENGTH, resetRegisters } from '../devices/nvme/registers.ts'
import { builtFile } from '../host/built-file.ts'
import { DeviceWorker } from '../host/device-worker.ts'
import { koffiSys } from '../host/sys-koffi.ts'
import { sharedTable } from '../iommu/shared-table.ts'
import { pciModel } from './device-model.ts'
import type { NvmeWorkerData } from './nvme-worker-main.ts'
import { type OptionKind, yesOrNo } from './option-kind.ts'
import { plainRegion } from './plain-region.ts'

const SERIAL = /^[\x21-\x7e]{1,20}$/

const serialNumber: OptionKind<string> = {
  form: 'TEXT',
  meaning: 'its serial number. Default: derived from the name of the image',
  expected: 'from 1 to 20 printable ASCII characters',
  schema: { type: 'string', pattern: SERIAL.source },
  read: (given) => (typeof given === 'string' && SERIAL.test(given) ? given : undefined),
}

export const nvme = pciModel({
  name: 'nvme',
  summary: 'an NVMe 1.4 controller with one namespace, an image file; MSI-X and INTx',
  argument: {
    form: 'IMAGE',
    meaning: 'a raw image: any file of at least 512 bytes, sparse or not',
    required: true,
    isPath: true,
  },
  options: {
    readonly: yesOrNo('refuse writes, for an image that must not change. Default: off'),
    serial: serialNumber,
  },
  standIn: () => ({
    name: 'nvme',
    identity: nvmeIdentity,
    msix: nvmeMsix,
    resettable: true,
    bars: [{ index: 0, kind: 'memory64', length: BAR_LENGTH, memory: plainRegion(BAR_LENGTH) }],
    reset: () => {},
  }),
  create: ({ readonly: readOnly = false, serial }, argument = '') => {
    const image = openImage(argument, readOnly)
    const identity = diskIdentity(resolve(argument), serial)
    return new DeviceWorker(koffiSys(), {
      name: 'nvme',
      identity: nvmeIdentity,
      msix: nvmeMsix,
      barLength: BAR_LENGTH,
      resetRegisters,
      table: sharedTable,
      start: (shares) => {
        const workerData: NvmeWorkerData = { shares, image, identity }
        const worker = new Worker(builtFile('cli/nvme-worker-main.cjs'), {
          workerData,
          // Else Node opens our standard output for itself.
          stdout: true,
          stderr: true,
        })
        worker.unref()
        return (message) => worker.postMessage(message)
      },
    })
  },
})
