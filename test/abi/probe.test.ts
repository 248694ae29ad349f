/**
 * Asks a C compiler and the real headers: every structure's size, every field's offset and size, every
 * constant, every request number.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { PlacedField, Struct } from '../../src/abi/layout.ts'
import {
  constants,
  containerIoctls,
  deviceIoctls,
  groupIoctls,
  iommufdCommands,
  migrationIoctls,
  structs,
} from '../../src/abi/tables.ts'

const { LINUX_UAPI: headers = join(homedir(), '.cache', 'linux-oracle', 'uapi', 'include') } =
  process.env

const hasCompiler = (): boolean => {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const missing = (): string | undefined => {
  if (!existsSync(join(headers, 'linux', 'iommufd.h')))
    return `no linux/iommufd.h in ${headers}: set LINUX_UAPI to a directory with Linux 7.2's uAPI headers`
  if (!hasCompiler()) return 'no C compiler named cc'
  return undefined
}

/** No public header has these: the test interface's, and the token, which is a bare array. */
const isPublic = (struct: Struct): boolean =>
  !/selftest|^iommu_test_/.test(struct.name) && struct.name !== 'pci_vf_token'

const isPublicIoctl = (ioctl: { readonly name: string }): boolean => ioctl.name !== 'IOMMU_TEST_CMD'

const publicStructs = [...structs.values()].filter(isPublic)
const ioctls = [
  ...iommufdCommands,
  ...containerIoctls,
  ...groupIoctls,
  ...deviceIoctls,
  ...migrationIoctls,
].filter(isPublicIoctl)

/** A flexible array has no sizeof; its elements have. */
const sizeOf = (struct: Struct, field: PlacedField): string => {
  const member = `((struct ${struct.name} *)0)->${field.name}`
  return field.array?.length === 'flexible' ? `sizeof(${member}[0])` : `sizeof(${member})`
}

const declaredSize = (field: PlacedField): number =>
  field.array?.length === 'flexible' ? field.array.element.size : field.size

/** Every question, as the C expression and our answer. */
const questions = (): ReadonlyMap<string, number> => {
  const asked = new Map<string, number>()
  for (const struct of publicStructs) {
    asked.set(`sizeof(struct ${struct.name})`, struct.size)
    for (const field of struct.fields) {
      asked.set(`offsetof(struct ${struct.name}, ${field.name})`, field.offset)
      asked.set(sizeOf(struct, field), declaredSize(field))
    }
  }
  for (const [name, value] of constants) asked.set(`(unsigned)${name}`, value)
  for (const ioctl of ioctls) asked.set(`(unsigned)${ioctl.name}`, ioctl.request)
  return asked
}

const ask = (expressions: readonly string[]): number[] => {
  const directory = mkdtempSync(join(tmpdir(), 'iommufd-user-probe-'))
  try {
    const source = join(directory, 'probe.c')
    const program = join(directory, 'probe')
    const lines = expressions.map((c) => `  printf("%llu\\n", (unsigned long long)(${c}));`)
    writeFileSync(
      source,
      [
        '#include <stddef.h>',
        '#include <stdio.h>',
        '#include <linux/iommufd.h>',
        '#include <linux/vfio.h>',
        'int main(void) {',
        ...lines,
        '  return 0;',
        '}',
        '',
      ].join('\n'),
    )
    execFileSync('cc', ['-I', headers, '-o', program, source], { stdio: 'pipe' })
    return execFileSync(program, { encoding: 'utf8' }).trim().split('\n').map(Number)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const reason = missing()

test.skipIf(reason !== undefined)(
  `every structure, constant and request number is as in the headers${reason === undefined ? '' : ` (skipped: ${reason})`}`,
  () => {
    const asked = questions()
    expect(asked.size).toBeGreaterThan(600)
    const answers = ask([...asked.keys()])
    const found = Object.fromEntries([...asked.keys()].map((c, i) => [c, answers[i]]))
    expect(found).toEqual(Object.fromEntries(asked))
  },
)
