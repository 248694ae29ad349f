/** `--device nvme:disk.img`. */
import { resolve } from 'node:path'
import { diskIdentity } from '../devices/nvme/identify.ts'
import { ImageFile } from '../devices/nvme/image-file.ts'
import { Nvme } from '../devices/nvme/nvme.ts'
import { koffiSys } from '../host/sys-koffi.ts'
import { pciModel } from './device-model.ts'
import { type OptionKind, yesOrNo } from './option-kind.ts'

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
  create: ({ readonly: readOnly = false, serial }, argument = '') => {
    const sys = koffiSys()
    const image = new ImageFile(argument, {
      readOnly,
      fallocate: (fd, mode, position, length) => sys.call('fallocate', fd, mode, position, length),
    })
    return new Nvme(image, diskIdentity(resolve(argument), serial))
  },
})
