/** 01 §22.15, §22.17, §22.18, §22.20, §22.22: limits, files, memory that changes, owners, cuts. */
import { example, fails, ok, type Steps, words } from '../example.ts'
import { ARRAY, B, MAX, slotFd } from '../places.ts'
import { F, R, W } from './flags.ts'
import { allocHwpt, checkMap, DATA_SELFTEST, mockDevice, s1, unmap, X } from './setups.ts'

const needs = { needs: ['test-interface', 'locked-memory-in-status'] } as const

const CAP_IPC_LOCK = 14
const FAR = B + 0x100000n

const automatic = (t: Steps, user_va: bigint, length: bigint, wanted: ReturnType<typeof ok>) =>
  t.step('IOAS_MAP', { flags: R | W, ioas_id: 1, user_va, length }, wanted)

const locked = (t: Steps, pinned: number, lockedKb: number): void =>
  t.prints('locked', `= pinned ${pinned} locked ${lockedKb}`)

/** Rows 1 to 6; in per-process mode the charge shows in VmLck, too. */
const memlockRows = (t: Steps, charged: (kb: number) => number): void => {
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  mockDevice(t, 1, [2, 3, 4])
  t.plain(`dropcap ${CAP_IPC_LOCK}`, 0)
  t.plain('rlimit 65536', 0)
  automatic(t, B, 0x10000n, ok({ iova: X }))
  locked(t, 64, charged(64))
  automatic(t, FAR, 0x1000n, fails('ENOMEM'))
  t.step(
    'IOAS_COPY',
    { flags: R | W, dst_ioas_id: 1, src_ioas_id: 1, length: 0x10000n, src_iova: X },
    ok({ dst_iova: X + 0x10000n }),
  )
  unmap(t, X, 0x10000n)
  automatic(t, FAR, 0x1000n, fails('ENOMEM'))
  unmap(t, X + 0x10000n, 0x10000n)
  locked(t, 0, 0)
  automatic(t, FAR, 0x1000n, ok({ iova: X }))
  locked(t, 4, charged(4))
}

export const memlockPerUser = example(
  '01 §22.15 Memlock limit, per-user mode',
  (t) => {
    t.buffer('private', 0x200000n)
    t.open()
    memlockRows(t, () => 0)
  },
  needs,
)

export const memlockPerProcess = example(
  '01 §22.15 Memlock limit, per-process mode',
  (t) => {
    t.buffer('private', 0x200000n)
    t.open()
    t.step('OPTION', { option_id: 0, op: 0, val64: 1n }, ok())
    memlockRows(t, (kb) => kb)
  },
  { needs: [...needs.needs, 'CAP_SYS_RESOURCE'] },
)

export const memlockWithoutDomain = example(
  '01 §22.15 Memlock limit, no domain until later',
  (t) => {
    t.buffer('private', 0x200000n)
    t.open()
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
    t.plain(`dropcap ${CAP_IPC_LOCK}`, 0)
    t.plain('rlimit 65536', 0)
    t.step(
      'IOAS_MAP',
      { flags: R | W | F, ioas_id: 1, user_va: B, length: 0x11000n, iova: X },
      ok(),
    )
    t.test('MOCK_DOMAIN', { id: 1 }, fails('ENOMEM'))
    locked(t, 0, 0)
    unmap(t, X, 0x11000n)
    mockDevice(t, 1, [2, 3, 4])
  },
  needs,
)

const [MEMFD, NULL] = [1, 2]
const HUGE_TABLE = 1

export const mapFileWithDomain = example(
  '01 §22.17 MAP_FILE, with a domain (rows 8 to 12)',
  (t) => {
    t.open()
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }))
    mockDevice(t, 2, [3, 4, 5])
    t.plain(`memfd ${MEMFD} 0x4000`, 0)
    t.open('/dev/null', { slot: NULL })
    const map = (fd: number, start: bigint, length: bigint, wanted: ReturnType<typeof ok>): void =>
      t.step('IOAS_MAP_FILE', { flags: R | W, ioas_id: 1, fd: slotFd(fd), start, length }, wanted)
    // A page table whose aperture begins at 0.
    const domain = (wanted: ReturnType<typeof ok>): void => {
      t.poke(ARRAY, words(0, HUGE_TABLE))
      const data = { data_type: DATA_SELFTEST, data_len: 8, data_uptr: ARRAY }
      allocHwpt(t, 1, 0, wanted, { dev_id: 4, ...data })
    }
    map(MEMFD, 0n, 0x4000n, ok({ iova: 0x4000n }))
    map(MEMFD, 0x1000n, 0x2000n, ok({ iova: 0x1000n }))
    map(MEMFD, 0x4000n, 0x1000n, ok({ iova: 0x3000n }))
    map(NULL, 0n, 0x1000n, ok({ iova: 0x8000n }))
    domain(fails('EINVAL'))
    t.plain(`blocks ${MEMFD}`, 16)
    unmap(t, 0x3000n, 0x1000n)
    domain(fails('EINVAL'))
    t.plain(`blocks ${MEMFD}`, 32)
    unmap(t, 0x8000n, 0x1000n)
    domain(ok({ out_hwpt_id: 6 }))
    map(MEMFD, 0x3000n, 0x1001n, fails('EINVAL'))
    t.plain(`ftruncate ${MEMFD} 0x3800`, 0)
    unmap(t, 0n, MAX, ok({ length: 0x6000n }))
    // IOAS 2 has 2 KiB pages; the whole page must lie below the size.
    t.step(
      'IOAS_MAP_FILE',
      { flags: R | W, ioas_id: 2, fd: slotFd(MEMFD), start: 0x3000n, length: 0x800n },
      fails('EINVAL'),
    )
  },
  { needs: ['test-interface'] },
)

export const munmapWithoutDomain = example(
  '01 §22.18 munmap without a domain',
  (t) => {
    t.buffer('shared', 0x1000n)
    t.open()
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
    const map = { flags: R | W | F, ioas_id: 1, user_va: B, length: 0x1000n, iova: X }
    t.step('IOAS_MAP', map, ok())
    t.unmapMemory(B, 0x1000n)
    t.buffer('shared', 0x1000n)
    mockDevice(t, 1, [2, 3, 4])
    checkMap(t, 4, [X, 0x1000n, B])
    t.step('DESTROY', { id: 2 }, ok())
    t.unmapMemory(B, 0x1000n)
    t.test('MOCK_DOMAIN', { id: 1 }, fails('EFAULT'))
  },
  { needs: ['test-interface'] },
)

export const munmapWithDomain = example(
  '01 §22.18 munmap with a domain',
  (t) => {
    s1(t)
    t.step('IOAS_MAP', { flags: R | W | F, ioas_id: 1, user_va: B, length: 0x1000n, iova: X }, ok())
    checkMap(t, 4, [X, 0x1000n, B])
    t.unmapMemory(B, 0x1000n)
    t.buffer('shared', 0x1000n)
    checkMap(t, 4, [X, 0x1000n, B], fails('EINVAL'))
    unmap(t, X, 0x1000n)
  },
  { needs: ['test-interface'] },
)

/** S1 and a page of a memfd that this process maps and is charged for. */
const chargedFile = (t: Steps): void => {
  s1(t)
  t.plain(`dropcap ${CAP_IPC_LOCK}`, 0)
  t.plain(`memfd ${MEMFD} 0x1000`, 0)
  t.step(
    'IOAS_MAP_FILE',
    { flags: R | W, ioas_id: 1, fd: slotFd(MEMFD), start: 0n, length: 0x1000n },
    ok({ iova: X }),
  )
  locked(t, 4, 0)
  t.step('IOAS_CHANGE_PROCESS', {}, ok())
}

export const changeProcessMoves = example(
  '01 §22.20 CHANGE_PROCESS in a forked child (row 5)',
  (t) => {
    chargedFile(t)
    t.fork(1)
    t.in(1, () => {
      t.step('IOAS_CHANGE_PROCESS', {}, ok())
      locked(t, 4, 0)
    })
    locked(t, 0, 0)
    t.exit(1)
  },
  needs,
)

export const changeProcessLimit = example(
  '01 §22.20 CHANGE_PROCESS with a limit of one page (row 6)',
  (t) => {
    chargedFile(t)
    t.fork(1)
    t.in(1, () => {
      t.plain('rlimit 4096', 0)
      t.step('IOAS_CHANGE_PROCESS', {}, fails('ENOMEM'))
      locked(t, 0, 0)
    })
    locked(t, 4, 0)
    t.exit(1)
  },
  needs,
)

export const cut = example(
  '01 §22.22 Cut, with a domain',
  (t) => {
    s1(t)
    t.step('DESTROY', { id: 2 }, ok())
    t.step('VFIO_IOAS', { op: 1, ioas_id: 1 }, ok())
    t.ioctl(0x3b66, 1n, ok())
    mockDevice(t, 1, [2, 3, 4])
    const map = { flags: 3, vaddr: B, iova: X, size: 0x10000n }
    t.step('VFIO_IOMMU_MAP_DMA', map, ok())
    const unmapDma = (iova: bigint, size: bigint, wanted = ok()): void =>
      t.step('VFIO_IOMMU_UNMAP_DMA', { iova, size }, wanted)
    unmapDma(X + 0x4000n, 0x1000n)
    checkMap(t, 4, [X, 0x4000n, B])
    checkMap(t, 4, [X + 0x4000n, 0x1000n, B + 0x4000n], fails('EINVAL'))
    checkMap(t, 4, [X + 0x5000n, 0xb000n, B + 0x5000n])
    unmapDma(X + 0x5000n, 0x1801n, fails('EINVAL'))
    unmap(t, X, 0x4000n)
    unmap(t, X + 0x5000n, 0xb000n)
  },
  { needs: ['test-interface'] },
)
