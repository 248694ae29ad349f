/** Writes the archive format ("newc" cpio) that Linux unpacks as its first file system. */

const pad4 = (length: number): number => (4 - (length % 4)) % 4

const entry = (name: string, mode: number, inode: number, content: Uint8Array): Uint8Array[] => {
  const path = new TextEncoder().encode(`${name}\0`)
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, path.length, 0]
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
  return [
    new TextEncoder().encode(header),
    path,
    new Uint8Array(pad4(header.length + path.length)),
    content,
    new Uint8Array(pad4(content.length)),
  ]
}

const FILE = 0o100755
const DIRECTORY = 0o040755

/** Absolute paths to contents; every file is executable, parent directories are added. */
export const cpioArchive = (files: ReadonlyMap<string, Uint8Array>): Uint8Array => {
  const parts: Uint8Array[] = []
  const directories = new Set<string>(['dev'])
  let inode = 1
  for (const path of files.keys()) {
    const steps = path.split('/').slice(1, -1)
    steps.forEach((_, i) => {
      directories.add(steps.slice(0, i + 1).join('/'))
    })
  }
  for (const directory of directories)
    parts.push(...entry(directory, DIRECTORY, inode++, new Uint8Array()))
  for (const [path, content] of files) parts.push(...entry(path.slice(1), FILE, inode++, content))
  parts.push(...entry('TRAILER!!!', 0, 0, new Uint8Array()))
  const archive = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    archive.set(part, at)
    at += part.length
  }
  return archive
}
