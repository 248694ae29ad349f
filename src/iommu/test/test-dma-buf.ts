/** dma-bufs of the test interface: got as a descriptor, mapped by MAP_FILE, revoked (05 §A.7 ops 22 and 23). */
import { type ByteLength, byteLength } from '../../abi/brands.ts'
import { TEST_DMABUF_GET, TEST_DMABUF_REVOKE } from '../../abi/test-cmd.ts'
import { type DmaBuf, type DmaBufAttachment, isDmaBuf } from '../../engine/dma-buf.ts'
import type { MmapRegion, OpenMode } from '../../engine/file.ts'
import type { PageObject } from '../../engine/ports.ts'
import { type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { testOperation } from './test-operation.ts'

export const TestDmaBufLength = reasonKind<{ length: number }>({
  code: 'test-dma-buf-length',
  errno: 'EINVAL',
  cite: '05 §A.7 op 22',
  say: ({ length }) => `a test dma-buf has 1 byte to 2 MiB, not ${length}`,
  advice: 'Ask for 1 byte to 2 MiB.',
})

export const TestDmaBufNotMappable = reasonKind({
  code: 'test-dma-buf-not-mappable',
  errno: 'EINVAL',
  cite: '05 §A.7 op 22',
  say: () => 'a test dma-buf cannot be mapped into a process',
  advice: 'Map it into an IOAS with IOMMU_IOAS_MAP_FILE only.',
})

export const TestDmaBufRevoked = reasonKind({
  code: 'test-dma-buf-revoked',
  errno: 'ENODEV',
  cite: '05 §A.7 op 22',
  say: () => 'the dma-buf is revoked',
  advice: 'Use the dma-buf before it is revoked, or let it come back (revoked = 0).',
})

export const TestRevokeBadDescriptor = reasonKind<{ fd: number }>({
  code: 'test-revoke-bad-descriptor',
  errno: 'EBADF',
  cite: '05 §A.7 op 23',
  say: ({ fd }) => `descriptor ${fd} is not open`,
  advice: 'Pass the open descriptor of a dma-buf that IOMMU_TEST_OP_DMABUF_GET made.',
})

export const TestRevokeNoDmaBuf = reasonKind<{ fd: number }>({
  code: 'test-revoke-no-dma-buf',
  errno: 'EINVAL',
  cite: '05 §A.7 op 23',
  say: ({ fd }) => `descriptor ${fd} is not a dma-buf`,
  advice: 'Pass a dma-buf that IOMMU_TEST_OP_DMABUF_GET made.',
})

export const TestRevokeForeignDmaBuf = reasonKind<{ fd: number }>({
  code: 'test-revoke-foreign-dma-buf',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.7 op 23',
  say: ({ fd }) => `the dma-buf behind descriptor ${fd} is not one of the test interface`,
  advice: 'Pass a dma-buf that IOMMU_TEST_OP_DMABUF_GET made.',
})

const PAGE = 4096
const MAX_BYTES = 2 << 20
const O_CLOEXEC = 0x8_0000
const MODES: readonly OpenMode[] = ['read', 'write', 'read-write', 'read-write']

/** Physically contiguous memory of the test interface itself. */
class DmaBufPages implements PageObject {
  readonly name = 'test dma-buf'
  readonly contiguity: number
  readonly #bytes: Uint8Array

  constructor(pages: number) {
    this.contiguity = 2 ** Math.ceil(Math.log2(pages))
    this.#bytes = new Uint8Array(pages * PAGE)
  }

  read(page: number, offset: number, into: Uint8Array): boolean {
    const at = page * PAGE + offset
    if (at + into.length > this.#bytes.length) return false
    into.set(this.#bytes.subarray(at, at + into.length))
    return true
  }

  write(page: number, offset: number, bytes: Uint8Array): boolean {
    const at = page * PAGE + offset
    if (at + bytes.length > this.#bytes.length) return false
    this.#bytes.set(bytes, at)
    return true
  }
}

export class TestDmaBuf implements DmaBuf {
  readonly dmaBuf = true
  readonly kind = 'dma-buf'
  readonly linkText = '/dmabuf:'
  readonly isDevice = false
  readonly mode: OpenMode
  readonly length: ByteLength
  readonly #pages: DmaBufPages
  readonly #count: number
  #revoked = false
  readonly #listeners = new Set<{ revoked(): void }>()

  constructor(pages: number, mode: OpenMode) {
    this.mode = mode
    this.#count = pages
    this.length = byteLength(BigInt(pages * PAGE))
    this.#pages = new DmaBufPages(pages)
  }

  attach(listener: { revoked(): void }): Result<DmaBufAttachment> {
    if (this.#revoked) return refuse(TestDmaBufRevoked, {})
    this.#listeners.add(listener)
    return {
      pages: { object: this.#pages, page: 0, count: this.#count },
      detach: () => {
        this.#listeners.delete(listener)
      },
    }
  }

  /** Ends every mapping there is for good, whatever the new state (05 §A.7 op 23). */
  setRevoked(revoked: boolean): void {
    this.#revoked = revoked
    const ended = [...this.#listeners]
    this.#listeners.clear()
    for (const listener of ended) listener.revoked()
  }

  mmap(): Result<MmapRegion> {
    return refuse(TestDmaBufNotMappable, {})
  }

  release(): void {}
}

export const dmaBufOperations = [
  testOperation(TEST_DMABUF_GET, ({ call, args }) => {
    const { length, open_flags: flags } = args
    const pages = Math.ceil(length / PAGE)
    if (pages === 0 || pages * PAGE > MAX_BYTES) return refuse(TestDmaBufLength, { length })
    const file = new TestDmaBuf(pages, MODES[flags & 3] ?? 'read-write')
    return call.install(file, { closeOnExec: (flags & O_CLOEXEC) !== 0 })
  }),

  testOperation(TEST_DMABUF_REVOKE, ({ call, args }) => {
    const fd = args.dmabuf_fd
    const file = call.file(fd)
    if (file === undefined) return refuse(TestRevokeBadDescriptor, { fd })
    if (!isDmaBuf(file)) return refuse(TestRevokeNoDmaBuf, { fd })
    if (!(file instanceof TestDmaBuf)) return refuse(TestRevokeForeignDmaBuf, { fd })
    file.setRevoked(args.revoked !== 0)
  }),
]
