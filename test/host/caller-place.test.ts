/** Where in a program a call was made, as the doctor's report says it. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { iommufdUser } from '../cli/program.ts'
import { COMPILER, compile, RUNS, scratchPath, unless } from './programs.ts'

const X64 = [process.arch === 'x64', 'x86-64'] as const

const PROGRAM = `
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static int fd;
__attribute__((noinline)) int through_library(void) { return ioctl(fd, 0x3b80, 0) + 1; }
__attribute__((noinline)) int by_itself(void) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(16), "D"((long)fd), "S"(0x3b81L), "d"(0L)
                   : "rcx", "r11", "memory");
  return result;
}
int main(void) {
  fd = open("/dev/iommu", O_RDWR);
  int first = through_library(), second = by_itself(), third = through_library();
  return first + third == 0 && second < 0 ? 0 : 1;
}
`

describe.skipIf(!RUNS[0] || !COMPILER[0] || !X64[0])(
  `places of calls${unless(RUNS, COMPILER, X64)}`,
  () => {
    test.each([
      ['dynamic', []],
      ['static', ['-static']],
    ] as const)(
      'the function that called the library, or made the call itself: %s',
      async (name, flags) => {
        const program = compile(`places-${name}`, PROGRAM, flags)
        const report = scratchPath(`places-${name}.json`)
        const options = ['--doctor-format=json', `--doctor-output=${report}`]
        expect(await iommufdUser(['run', ...options, program])).toMatchObject({
          status: 0,
          stderr: '',
        })
        const { failedCalls } = JSON.parse(readFileSync(report, 'utf8'))
        const symbols = failedCalls.flatMap(
          ({ explained }: { explained: { place?: { symbol: string } }[] }) =>
            explained.map(({ place }) => place?.symbol),
        )
        // In a static program the C library's functions are its own.
        const library = name === 'static' ? expect.stringMatching(/ioctl/) : 'through_library'
        expect(symbols).toEqual([library, library, 'by_itself'])
      },
    )
  },
)
