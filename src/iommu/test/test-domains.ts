/** Looking into mock page tables and pages (05 §A.7 ops 3, 4, 13, 14). */
import { hex, type Iova, MAX_U64 } from '../../abi/brands.ts'
import {
  TEST_DIRTY,
  TEST_MD_CHECK_IOTLB,
  TEST_MD_CHECK_MAP,
  TEST_MD_CHECK_REFS,
} from '../../abi/test-cmd.ts'
import { HwptNested, HwptPaging } from '../../engine/hwpt.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { MockNestedDomain, MockPagingDomain } from '../mock/mock-domains.ts'
import { markDirty } from '../table-dirty.ts'
import { callerPages } from './caller-pages.ts'
import { type Asking, type RequestOf, readCaller, testOperation } from './test-operation.ts'

export const TestDomainNotMock = reasonKind<{ hwpt: number }>({
  code: 'test-domain-not-mock',
  errno: 'EINVAL',
  cite: '05 §A.7 ops 3, 13, 14',
  say: ({ hwpt }) => `HWPT ${hwpt} is not one of the mock IOMMU`,
  advice: 'Use an HWPT of a device that IOMMU_TEST_OP_MOCK_DOMAIN made.',
})

export const TestCheckMisaligned = reasonKind<{ values: readonly bigint[]; unit: number }>({
  code: 'test-check-misaligned',
  errno: 'EINVAL',
  cite: '05 §A.7 ops 3 and 4',
  say: ({ values, unit }) =>
    `one of ${values.map(hex).join(', ')} is not a multiple of ${unit}, or the range passes 2^64`,
  advice: 'Align iova, address and length to the page size of the mock IOMMU.',
})

export const TestMapDiffers = reasonKind<{ iova: bigint; address: bigint; mapped: boolean }>({
  code: 'test-map-differs',
  errno: 'EINVAL',
  cite: '05 §A.7 op 3 step 3',
  say: ({ iova, address, mapped }) =>
    `IOVA ${hex(iova)} ${mapped ? 'translates to other memory than' : 'is not mapped; expected was'} the caller's ${hex(address)}`,
  advice:
    'The page table is not as the test expects: look at what was mapped and unmapped there last.',
})

export const TestRefsDiffer = reasonKind<{ address: bigint; pins: number; expected: number }>({
  code: 'test-refs-differ',
  errno: 'EIO',
  cite: '05 §A.7 op 4 step 2',
  say: ({ address, pins, expected }) =>
    `the page at ${hex(address)} is pinned ${pins} times, not ${expected}`,
  advice:
    'The pins are not as the test expects: look at which mappings and accesses hold the page.',
})

export const TestDirtyArguments = reasonKind<{ iova: bigint; length: bigint; pageSize: bigint }>({
  code: 'test-dirty-arguments',
  errno: 'EINVAL',
  cite: '05 §A.7 op 13 step 1',
  say: ({ iova, length, pageSize }) =>
    `page_size ${hex(pageSize)}, length ${hex(length)}, IOVA ${hex(iova)}: none may be zero but the IOVA, ` +
    'both must be multiples of page_size, and there must be a bitmap',
  advice: 'Set page_size and length, align iova and length to page_size, and pass a bitmap.',
})

export const TestDirtyTooLong = reasonKind<{ pages: bigint }>({
  code: 'test-dirty-too-long',
  errno: 'EOVERFLOW',
  cite: '05 §A.7 op 13 step 2',
  say: ({ pages }) => `${pages} pages are more than 134217728`,
  advice: 'Mark fewer pages at once.',
})

export const TestDirtyNotTracking = reasonKind<{ hwpt: number }>({
  code: 'test-dirty-not-tracking',
  errno: 'EINVAL',
  cite: '05 §A.7 op 13 step 4',
  say: ({ hwpt }) => `dirty tracking of HWPT ${hwpt} is off`,
  advice: 'Call IOMMU_HWPT_SET_DIRTY_TRACKING first.',
})

export const TestIotlbDiffers = reasonKind<{
  entry: number
  found: number | undefined
  expected: number
}>({
  code: 'test-iotlb-differs',
  errno: 'EINVAL',
  cite: '05 §A.7 op 14',
  say: ({ entry, found, expected }) =>
    found === undefined
      ? `there is no IOTLB entry ${entry}`
      : `IOTLB entry ${entry} holds ${hex(found)}, not ${hex(expected)}`,
  advice: 'The IOTLB is not as the test expects: look at which invalidations reached it.',
})

const PAGE = 4096
const MAX_DIRTY_PAGES = 134217728n

const mockPaging = ({ context, call }: Asking, id: number): Result<MockPagingDomain> => {
  const hwpt = context.objects.find(id, HwptPaging, 'paging HWPT', call)
  if (hwpt instanceof Refusal) return hwpt
  return hwpt.domain instanceof MockPagingDomain
    ? hwpt.domain
    : refuse(TestDomainNotMock, { hwpt: id })
}

const checkMap = (request: RequestOf<typeof TEST_MD_CHECK_MAP>): Result<void> => {
  const { call, context, args } = request
  const { iova, length, uptr } = args
  const domain = mockPaging(request, args.id)
  if (domain instanceof Refusal) return domain
  const unit = Number(domain.pageSizes & -domain.pageSizes)
  const mask = BigInt(unit - 1)
  if (((iova | length | uptr) & mask) !== 0n || uptr + length > MAX_U64)
    return refuse(TestCheckMisaligned, { values: [iova, length, uptr], unit })
  const { frames } = context.machine
  for (const { object, page, address } of callerPages(call, uptr, length)) {
    if (object instanceof Refusal) return object
    // Within a page, unit by unit: two halves may be mapped by two calls.
    const end = minimum(uptr + length, (address & ~0xfffn) + 0x1000n)
    for (let at: bigint = address; at < end; at += BigInt(unit)) {
      const where = iova + (at - uptr)
      const phys = where > MAX_U64 ? undefined : domain.iovaToPhys(where as Iova)
      const frame = frames.physOf(object, page)
      if (phys === undefined || frame === undefined || phys !== frame + (at & 0xfffn))
        return refuse(TestMapDiffers, { iova: where, address: at, mapped: phys !== undefined })
    }
  }
}

const minimum = (a: bigint, b: bigint): bigint => (a < b ? a : b)

export const domainOperations = [
  testOperation(TEST_MD_CHECK_MAP, checkMap),

  testOperation(TEST_MD_CHECK_REFS, (request) => {
    const { call, context, args } = request
    const { length, uptr, refs } = args
    if (((length | uptr) & 0xfffn) !== 0n || uptr + length > MAX_U64)
      return refuse(TestCheckMisaligned, { values: [length, uptr], unit: PAGE })
    for (const { object, page, address } of callerPages(call, uptr, length)) {
      if (object instanceof Refusal) return object
      // Pages of large folios are not counted by Linux either.
      if (object.contiguity > 1) continue
      const pins = context.machine.frames.pinsOf(object, page)
      if (pins !== refs) return refuse(TestRefsDiffer, { address, pins, expected: refs })
    }
  }),

  testOperation(TEST_DIRTY, (request) => {
    const { call, args } = request
    const { iova, length, page_size: pageSize, uptr } = args
    if (
      pageSize === 0n ||
      length === 0n ||
      iova % pageSize !== 0n ||
      length % pageSize !== 0n ||
      uptr === 0n
    )
      return refuse(TestDirtyArguments, { iova, length, pageSize })
    const pages = length / pageSize
    if (pages > MAX_DIRTY_PAGES) return refuse(TestDirtyTooLong, { pages })
    const domain = mockPaging(request, args.id)
    if (domain instanceof Refusal) return domain
    if (!domain.table.tracking) return refuse(TestDirtyNotTracking, { hwpt: args.id })
    const count = Number(pages)
    const bitmap = readCaller(call, uptr, Math.ceil(count / 8))
    if (bitmap instanceof Refusal) return bitmap
    let dirty = 0
    for (let bit = 0; bit < count; bit++) {
      if ((((bitmap[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 0) continue
      dirty++
      const at = iova + BigInt(bit) * pageSize
      if (at <= MAX_U64) markDirty(domain.table, at as Iova)
    }
    return request.respond({ out_nr_dirty: BigInt(dirty) })
  }),

  testOperation(TEST_MD_CHECK_IOTLB, (request) => {
    const { context, call, args } = request
    const { entry_id: entry, iotlb: expected } = args
    const hwpt = context.objects.find(args.id, HwptNested, 'nested HWPT', call)
    if (hwpt instanceof Refusal) return hwpt
    if (!(hwpt.domain instanceof MockNestedDomain))
      return refuse(TestDomainNotMock, { hwpt: args.id })
    const found = hwpt.domain.iotlb[entry]
    if (found !== expected) return refuse(TestIotlbDiffers, { entry, found, expected })
  }),
]
