/** Accesses with a descriptor: pins, CPU copies, moving to another IOAS (05 §A.7 ops 5 to 8 and 11). */
import { type ByteLength, type Fd, hex, type Iova, type UserVa } from '../../abi/brands.ts'
import {
  MOCK_ACCESS_CREATE_FLAGS,
  MOCK_ACCESS_FLAGS,
  MOCK_ACCESS_RW_FLAGS,
  TEST_ACCESS_PAGES,
  TEST_ACCESS_REPLACE_IOAS,
  TEST_ACCESS_RW,
  TEST_CREATE_ACCESS,
  TEST_DESTROY_ACCESS_PAGES,
} from '../../abi/test-cmd.ts'
import { Access } from '../../engine/access.ts'
import { copyToUser } from '../../engine/command.ts'
import type { Context } from '../../engine/context.ts'
import type { OpenFile } from '../../engine/file.ts'
import type { Caller } from '../../engine/objects.ts'
import type { Call, PageIdentity } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { callerPages } from './caller-pages.ts'
import { readCaller, TestFlagUnknown, testOperation } from './test-operation.ts'

export const TestTooLong = reasonKind<{ length: bigint }>({
  code: 'test-too-long',
  errno: 'ENOMEM',
  cite: '05 §A.7 ops 7 and 8 step 1',
  say: ({ length }) => `${hex(length)} bytes are more than 16 MiB`,
  advice: 'Ask for 16 MiB at the most.',
})

export const TestNotAnAccess = reasonKind<{ fd: number }>({
  code: 'test-not-an-access',
  errno: 'EBADFD',
  cite: '05 §A.7 op 7 step 3',
  say: ({ fd }) => `descriptor ${fd} is not an access of the test interface`,
  advice: 'These operations take the descriptor that CREATE_ACCESS returned, not an object ID.',
})

export const TestAccessDoesNotPin = reasonKind({
  code: 'test-access-does-not-pin',
  errno: 'EOPNOTSUPP',
  cite: '05 §A.7 op 7 step 4',
  say: () => 'the access was made without MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES',
  advice: 'Make the access with MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES.',
})

export const TestPageDiffers = reasonKind<{ iova: bigint; address: bigint }>({
  code: 'test-page-differs',
  errno: 'EBADE',
  cite: '05 §A.7 op 7 step 8',
  say: ({ iova, address }) =>
    `the page pinned at IOVA ${hex(iova)} is not the caller's page at ${hex(address)}`,
  advice:
    'The mapping has other memory than the test expects: look at what was mapped there and whether the process has replaced it.',
})

export const TestNoSuchItem = reasonKind<{ item: number }>({
  code: 'test-no-such-item',
  errno: 'ENOENT',
  cite: '05 §A.7 op 6 step 2',
  say: ({ item }) =>
    `the access has no pinned range ${item}: never made, or dropped by an unmap or a replace`,
  advice:
    'Use an item that IOMMU_TEST_OP_ACCESS_PAGES returned and that nothing has dropped since.',
})

export const TestNoDescriptor = reasonKind({
  code: 'test-no-descriptor',
  errno: 'ENOMEM',
  cite: '05 §A.7 op 5 step 2',
  say: () => 'the caller has no free descriptor',
  advice: 'Close descriptors, or raise the limit (ulimit -n).',
})

const MAX_LENGTH = 16n << 20n

/** One pinned range. */
interface Item {
  readonly iova: Iova
  readonly length: ByteLength
}

export class TestAccess implements OpenFile {
  readonly kind = 'test access'
  readonly linkText = 'anon_inode:[iommufd_test_staccess]'
  readonly mode = 'read-write'
  readonly isDevice = false
  readonly pins: boolean
  readonly access: Access
  readonly #items = new Map<number, Item>()
  #next = 0
  #open = true

  constructor(access: Access, pins: boolean) {
    this.pins = pins
    this.access = access
  }

  static create(caller: Caller, context: Context, pins: boolean): Result<TestAccess> {
    let file: TestAccess | undefined
    const access = Access.create(
      context,
      {
        name: 'test access',
        pins,
        unmap: (iova, length) => file?.dropOverlapping(iova, length),
      },
      { caller },
    )
    if (access instanceof Refusal) return access
    file = new TestAccess(access, pins)
    return file
  }

  /** Pins of an area that is unmapped go whole, without notice to the program (05 §A.7 op 6). */
  dropOverlapping(iova: Iova, length: ByteLength): void {
    const last = iova + length - 1n
    for (const [number, item] of this.#items)
      if (item.iova <= last && iova <= item.iova + item.length - 1n) this.drop(number)
  }

  /** The number is used up even if the program never learns it. */
  add(item: Item): number {
    const number = this.#next++
    this.#items.set(number, item)
    return number
  }

  drop(number: number): boolean {
    const item = this.#items.get(number)
    if (item === undefined) return false
    this.access.unpin(item.iova, item.length)
    return this.#items.delete(number)
  }

  release(): void {
    if (!this.#open) return
    this.#open = false
    for (const number of [...this.#items.keys()]) this.drop(number)
    this.access.destroy()
  }
}

const findAccess = (call: Call, fd: Fd): Result<TestAccess> => {
  const file = call.file(fd)
  return file instanceof TestAccess ? file : refuse(TestNotAnAccess, { fd })
}

/** With the SYZ flag the IOVA is {number of an area, offset in it} (05 §A.7.1). */
const resolveIova = (access: Access, iova: Iova, flags: number): Iova => {
  const { ioas } = access
  if ((flags & MOCK_ACCESS_FLAGS.MOCK_FLAGS_ACCESS_SYZ) === 0 || ioas === undefined) return iova
  let left = Number(iova & 0xffff_ffffn)
  let start: bigint | undefined
  ioas.forEachArea((area) => {
    if (left-- === 0) start = area.start
  })
  return (start === undefined ? 0n : (start + (iova >> 32n)) & 0xffff_ffff_ffff_ffffn) as Iova
}

const checkSame = (
  call: Call,
  pinned: readonly PageIdentity[],
  iova: Iova,
  uptr: UserVa,
): Refusal | undefined => {
  const from = ((uptr - (iova & 0xfffn)) & 0xffff_ffff_ffff_ffffn) as UserVa
  let index = 0
  for (const { object, page, address } of callerPages(call, from, BigInt(pinned.length) << 12n)) {
    if (object instanceof Refusal) return object
    const mine = pinned[index++]
    if (mine === undefined) break
    if (mine.object !== object || mine.page !== page)
      return refuse(TestPageDiffers, { iova: iova + BigInt(index - 1) * 4096n, address })
  }
  return undefined
}

const unknownFlags = (flags: number, known: number, operation: string): Refusal | undefined =>
  (flags & ~known) === 0 ? undefined : refuse(TestFlagUnknown, { flags, known, operation })

const PAGES_FLAGS =
  MOCK_ACCESS_FLAGS.MOCK_FLAGS_ACCESS_WRITE | MOCK_ACCESS_FLAGS.MOCK_FLAGS_ACCESS_SYZ
const RW_FLAGS =
  MOCK_ACCESS_RW_FLAGS.MOCK_ACCESS_RW_WRITE |
  MOCK_ACCESS_RW_FLAGS.MOCK_ACCESS_RW_SLOW_PATH |
  MOCK_ACCESS_RW_FLAGS.MOCK_FLAGS_ACCESS_SYZ
const CREATE_FLAGS = MOCK_ACCESS_CREATE_FLAGS.MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES

export const accessOperations = [
  testOperation(TEST_CREATE_ACCESS, ({ call, context, args, respond }) => {
    const bad = unknownFlags(args.flags, CREATE_FLAGS, 'CREATE_ACCESS')
    if (bad !== undefined) return bad
    const file = TestAccess.create(call, context, (args.flags & CREATE_FLAGS) !== 0)
    if (file instanceof Refusal) return file
    const undone = (refusal: Refusal): Refusal => {
      file.release()
      return refusal
    }
    const attached = file.access.attach(call, args.id)
    if (attached instanceof Refusal) return undone(attached)
    // A descriptor cannot be taken back: see first that the caller can be told, with what is there.
    const writable = respond({})
    if (writable instanceof Refusal) return undone(writable)
    const fd = call.install(file, { closeOnExec: true })
    if (fd instanceof Refusal) return undone(refuse(TestNoDescriptor, {}))
    return respond({ out_access_fd: fd })
  }),

  testOperation(TEST_ACCESS_PAGES, ({ call, args, respond }) => {
    const { flags, length, uptr } = args
    if (length > MAX_LENGTH) return refuse(TestTooLong, { length })
    const bad = unknownFlags(flags, PAGES_FLAGS, 'ACCESS_PAGES')
    if (bad !== undefined) return bad
    const file = findAccess(call, args.id)
    if (file instanceof Refusal) return file
    if (!file.pins) return refuse(TestAccessDoesNotPin, {})
    const { access } = file
    const iova = resolveIova(access, args.iova, flags)
    const write = (flags & MOCK_ACCESS_FLAGS.MOCK_FLAGS_ACCESS_WRITE) !== 0
    const pinned = access.pin(call, iova, length, write)
    if (pinned instanceof Refusal) return pinned
    if (uptr !== 0n) {
      const differs = checkSame(call, pinned, iova, uptr)
      if (differs !== undefined) {
        access.unpin(iova, length)
        return differs
      }
    }
    const number = file.add({ iova, length })
    const told = respond({ out_access_pages_id: number })
    if (told instanceof Refusal) file.drop(number)
    return told
  }),

  testOperation(TEST_DESTROY_ACCESS_PAGES, ({ call, args }) => {
    const file = findAccess(call, args.id)
    if (file instanceof Refusal) return file
    const item = args.access_pages_id
    if (!file.drop(item)) return refuse(TestNoSuchItem, { item })
  }),

  testOperation(TEST_ACCESS_RW, ({ call, args }) => {
    const { flags, length, uptr } = args
    if (length > MAX_LENGTH) return refuse(TestTooLong, { length })
    const bad = unknownFlags(flags, RW_FLAGS, 'ACCESS_RW')
    if (bad !== undefined) return bad
    const file = findAccess(call, args.id)
    if (file instanceof Refusal) return file
    const { access } = file
    const by = {
      space: call.process.addressSpace,
      slow: (flags & MOCK_ACCESS_RW_FLAGS.MOCK_ACCESS_RW_SLOW_PATH) !== 0,
    }
    if ((flags & MOCK_ACCESS_RW_FLAGS.MOCK_ACCESS_RW_WRITE) !== 0) {
      const bytes = readCaller(call, uptr, Number(length))
      if (bytes instanceof Refusal) return bytes
      return access.write(call, by, resolveIova(access, args.iova, flags), bytes)
    }
    const bytes = new Uint8Array(Number(length))
    const read = access.read(call, by, resolveIova(access, args.iova, flags), bytes)
    return read instanceof Refusal ? read : copyToUser(call, uptr, bytes)
  }),

  testOperation(TEST_ACCESS_REPLACE_IOAS, ({ call, args }) => {
    const file = findAccess(call, args.id)
    return file instanceof Refusal ? file : file.access.replace(call, args.ioas_id)
  }),
]
