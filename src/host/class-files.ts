/**
 * What Linux has under /sys for a character device, by which libudev and others go from a device number to
 * a device: `/sys/dev/char/MAJOR:MINOR`, `/sys/class/CLASS/NAME`.
 */
import type { SyntheticFile } from './hosted-system.ts'
import type { Device } from './tree.ts'

const CLASS: Readonly<Record<Device['device']['major'], string>> = {
  misc: 'misc',
  vfio: 'vfio',
  'vfio-dev': 'vfio-dev',
}

/** `inClass` tells whether a class has an entry of this path already, as that of a PCI function's cdev. */
export const classFiles = (
  { device, major, minor }: Device,
  inClass: (path: string) => boolean,
): readonly SyntheticFile[] => {
  const name = device.path.slice(device.path.lastIndexOf('/') + 1)
  const kind = CLASS[device.major]
  const entry = `/sys/class/${kind}/${name}`
  const number = `${major}:${minor}`
  const link = (path: string, target: string): SyntheticFile => ({
    path,
    node: { kind: 'link', target },
  })
  const byNumber = `/sys/dev/char/${number}`
  if (inClass(entry)) return [link(byNumber, `../../class/${kind}/${name}`)]
  const virtual = `devices/virtual/${kind}/${name}`
  const text = (file: string, permissions: number, lines: readonly string[]): SyntheticFile => ({
    path: `/sys/${virtual}/${file}`,
    node: { kind: 'text', permissions, content: () => lines.map((line) => `${line}\n`).join('') },
  })
  const devname = device.path.slice('/dev/'.length)
  return [
    text('dev', 0o444, [number]),
    text('uevent', 0o644, [`MAJOR=${major}`, `MINOR=${minor}`, `DEVNAME=${devname}`]),
    link(`/sys/${virtual}/subsystem`, `../../../../class/${kind}`),
    link(entry, `../../${virtual}`),
    link(byNumber, `../../${virtual}`),
  ]
}
