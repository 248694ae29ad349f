/** The thread of an NVMe device: its controller on shared registers, tables and memory. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { Controller } from '../devices/nvme/controller.ts'
import type { DiskIdentity } from '../devices/nvme/identify.ts'
import type { Image } from '../devices/nvme/image.ts'
import { ImageFile, type OpenImage } from '../devices/nvme/image-file.ts'
import type { DeviceWorkerShares } from '../host/device-worker-words.ts'
import { withMachineCode } from '../host/machine-code.ts'
import { koffiSys } from '../host/sys-koffi.ts'
import { startDeviceWork } from '../host/worker-device.ts'
import { type SharedTable, sharedTableWalker } from '../iommu/shared-table.ts'

export interface NvmeWorkerData {
  readonly shares: DeviceWorkerShares
  readonly image: OpenImage
  readonly identity: DiskIdentity
}

// The only one who starts this program is nvme-model.ts.
const { shares, image, identity } = workerData as NvmeWorkerData
const sys = withMachineCode(koffiSys())

startDeviceWork(sys, shares, {
  table: () => {
    const message = parentPort && receiveMessageOnPort(parentPort)?.message
    return message === undefined ? undefined : sharedTableWalker(message as SharedTable)
  },
  create: ({ registers, memory, interrupts, outside }) =>
    new Controller({
      registers,
      memory,
      interrupts,
      identity,
      image: unhurried(
        new ImageFile(image, (fd, mode, position, length) =>
          sys.call('fallocate', fd, mode, position, length),
        ),
        outside,
      ),
      allocate: (bytes) => memory.allocate(bytes),
    }),
})

/** A disk may take its time; nobody is to wait for it but the commands themselves. */
function unhurried(file: Image, outside: <T>(run: () => T) => T): Image {
  return {
    blocks: file.blocks,
    readOnly: file.readOnly,
    read: (position, into) => outside(() => file.read(position, into)),
    write: (position, bytes) => outside(() => file.write(position, bytes)),
    zero: (position, length, deallocate) => outside(() => file.zero(position, length, deallocate)),
    flush: () => outside(() => file.flush()),
  }
}
