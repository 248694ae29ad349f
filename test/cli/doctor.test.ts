/** `run --doctor`: what it prints, where, and with which exit status. */
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { PYTHON, python, RUNS, scratchPath, unless } from '../host/programs.ts'

/** Maps two pages, and unmaps one of them: a warning. */
const CUTS = `
fd = os.open('/dev/iommu', os.O_RDWR)
id = ioas(fd)
memory = mmap.mmap(-1, 8192)
at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fcntl.ioctl(fd, IOAS_MAP, struct.pack('=IIIIQQQ', 40, 7, id, 0, at, 8192, 0x10000))
print(attempt(lambda: fcntl.ioctl(fd, 0x3b86, struct.pack('=IIQQ', 24, id, 0x10000, 4096))))
`
const CLEAN = `
fd = os.open('/dev/iommu', os.O_RDWR)
fcntl.ioctl(fd, DESTROY, struct.pack('=II', 8, ioas(fd)))
`

describe.skipIf(!RUNS[0] || !PYTHON[0])(`run --doctor${unless(RUNS, PYTHON)}`, () => {
  test('explains failed calls and reports findings when the program has ended', async () => {
    const { status, stdout, stderr } = await python(CUTS, ['--doctor'])
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'ENOENT\n' })
    expect(stderr).toMatch(
      /^iommufd-user: call #\d+ \(process \d+(, \S+ of \S+)?\): IOMMU_IOAS_UNMAP of 0x1000 bytes at IOVA 0x10000 \(ioas_id 1\) failed with ENOENT: .* \[area-sticks-out\]$/m,
    )
    expect(stderr).toMatch(/^ {4}call #\d+ IOMMU_IOAS_MAP: \[0x10000, 0x11fff\] was mapped/m)
    expect(stderr).toMatch(/^iommufd-user: warning: .*\[unmap-cuts-mapping\]$/m)
    expect(stderr).toMatch(/The doctor looked at \d+ calls: 1 failed; 1 warning and 1 note\.\n$/)
  })

  test('is silent without being asked, but for what is serious', async () => {
    expect(await python(CUTS)).toMatchObject({ status: 0, stderr: '' })
  })

  test('strict: findings fail the run, notes only if asked; the own status of a program counts more', async () => {
    expect((await python(CUTS, ['--doctor=strict'])).status).toBe(1)
    expect((await python(CUTS, ['--doctor=strict', '--doctor-fail-on=error'])).status).toBe(0)
    expect((await python(`${CUTS}\nsys.exit(7)`, ['--doctor=strict'])).status).toBe(7)
    expect((await python(CLEAN, ['--doctor=strict', '--doctor-fail-on=note'])).status).toBe(0)
    const killed = await python(`${CUTS}\nos.kill(os.getpid(), 9)`, ['--doctor=strict'])
    expect(killed.signal).toBe('SIGKILL')
  })

  test('a format and a file ask for the doctor too', async () => {
    const file = scratchPath('doctor.sarif')
    const { stderr } = await python(CUTS, ['--doctor-format=sarif', `--doctor-output=${file}`])
    expect(stderr).toBe('')
    const { runs } = JSON.parse(readFileSync(file, 'utf8'))
    const levels = runs[0].results.map(({ level }: { level: string }) => level)
    expect(levels.sort()).toEqual(['note', 'warning'])
  })

  test('what cannot be written is said before anything runs', async () => {
    const { status, stderr } = await python(CUTS, ['--doctor-output=/nowhere/report'])
    expect(status).toBe(125)
    expect(stderr).toContain('The report cannot be written')
    expect(existsSync('/nowhere')).toBe(false)
  })

  test('at once: each where it happens', async () => {
    const { stderr } = await python(CUTS, ['--doctor', '--findings=at-once'])
    expect(stderr).toMatch(/┌ iommufd-user: call #\d+ \[area-sticks-out\]/)
    expect(stderr).toMatch(/┌ iommufd-user: warning \[unmap-cuts-mapping\]/)
    expect(stderr).not.toContain('The doctor looked at')
  })
})
