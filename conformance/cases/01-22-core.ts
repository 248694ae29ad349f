/** 01 §22.1 to §22.4: dispatch and size, IDs, RLIMIT_MODE, IOVA_RANGES. */
import { example, fails, ok, ranges } from '../example.ts'
import { ARRAY, MAX, PAGE, SPARE, STRUCT, UNMAPPED } from '../places.ts'

export const dispatchAndSize = example('01 §22.1 Dispatch and size', (t) => {
  t.open()
  t.ioctl(0x3b7f, STRUCT, fails('ENOTTY'))
  t.ioctl(0x3b81, 0n, fails('EFAULT'))
  t.ioctl(0xc00c3b81, 0n, fails('EFAULT'))
  t.step('IOAS_ALLOC', {}, fails('ENOTTY'), { request: 0xc00c3b81 })
  t.step('IOAS_ALLOC', { size: 11 }, fails('EINVAL'))
  t.step('IOAS_ALLOC', { size: 13 }, fails('E2BIG'), { tail: [0xff] })
  t.step('IOAS_ALLOC', { size: 13 }, ok({ out_ioas_id: 1 }), { tail: [0] })
  t.step('IOAS_ALLOC', { size: 0xffffffff }, fails('E2BIG'), { tail: [1] })
  // The structure at the last 12 bytes before an unmapped page, 16 bytes promised.
  t.memory(SPARE, PAGE, 'rw')
  t.poke(SPARE + PAGE - 12n, [16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  t.ioctl(0x3b81, SPARE + PAGE - 12n, fails('EFAULT'))
  t.step('DESTROY', { id: 1 }, ok(), { readOnly: true })
})

export const dispatchSteps = example('01 §4.4 Examples of step interaction', (t) => {
  t.open()
  t.ioctl(0x3b7f, UNMAPPED, fails('ENOTTY'))
  t.ioctl(0x3b80, 0n, fails('EFAULT'))
  t.step('DESTROY', {}, fails('ENOTTY'), { request: 0xc0083b80 })
  t.ioctl(0xc0083b80, 0n, fails('EFAULT'))
  t.step('DESTROY', { size: 7 }, fails('EINVAL'))
  t.step('DESTROY', { size: 16 }, fails('ENOENT'), { tail: [0, 0, 0, 0, 0, 0, 0, 0] })
  t.step('DESTROY', { size: 16 }, fails('E2BIG'), { tail: [0, 0, 0, 0, 0, 0, 0, 1] })
  t.step('DESTROY', { size: 0 }, fails('EINVAL'))
})

export const testKernelNumbers = example(
  '01 §4.3 Numbers between the last command and the test command',
  (t) => {
    t.open()
    t.ioctl(0x3b9f, 0n, fails('EFAULT'))
    t.ioctl(0x3b95, STRUCT, fails('ENOTTY'))
    t.ioctl(0x3ba1, 0n, fails('ENOTTY'))
  },
  { needs: ['test-interface'] },
)

export const fileOperations = example('01 §3 File operations other than ioctl', (t) => {
  t.open()
  t.plain(`read 0 ${ARRAY} 8`, -22)
  t.plain(`write 0 ${ARRAY} 8`, -22)
  t.plain(`pread 0 ${ARRAY} 8 0`, -22)
  t.plain(`pwrite 0 ${ARRAY} 8 0`, -22)
  t.plain('lseek 0 0 0', -29)
  t.plain('poll 0 0x145', 0x145)
  t.plain('epoll 0', -1)
  t.plain('fsync 0', -22)
  t.prints('fstat 0', '= character major 10')
  t.open('/dev/iommu', { slot: 1, flags: 0 })
  t.plain(`write 1 ${ARRAY} 8`, -9)
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }), { slot: 1 })
  t.open('/dev/iommu', { slot: 2, flags: 1 })
  t.plain(`read 2 ${ARRAY} 8`, -9)
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }), { slot: 2 })
})

export const ids = example('01 §22.2 IDs', (t) => {
  t.open()
  for (const id of [1, 2, 3]) t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: id }))
  t.step('DESTROY', { id: 2 }, ok())
  t.step('DESTROY', { id: 2 }, fails('ENOENT'))
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }))
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 4 }))
  t.step('IOAS_ALLOC', { flags: 1 }, fails('EOPNOTSUPP'))
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 5 }))
  t.step('IOAS_ALLOC', {}, fails('EFAULT'), { readOnly: true })
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 6 }))
  t.step('DESTROY', { id: 0 }, fails('ENOENT'))
  t.step('DESTROY', { id: 0xffffffff }, fails('ENOENT'))
})

export const contextsAreIndependent = example('01 §2 Every open is a context of its own', (t) => {
  t.open()
  t.open('/dev/iommu', { slot: 1 })
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }), { slot: 1 })
  t.step('DESTROY', { id: 1 }, ok(), { slot: 1 })
  t.dup(0, 2)
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 2 }), { slot: 2 })
  t.close(0)
  t.step('DESTROY', { id: 1 }, ok(), { slot: 2 })
  t.fork(1)
  t.in(1, () => {
    t.step('DESTROY', { id: 2 }, ok(), { slot: 2 })
  })
  t.exit(1)
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }), { slot: 2 })
})

const [SET, GET] = [0, 1]

export const rlimitMode = example(
  '01 §22.3 RLIMIT_MODE',
  (t) => {
    t.open()
    t.step('OPTION', { option_id: 0, op: GET }, ok({ val64: 0n }))
    t.step('OPTION', { option_id: 0, op: SET, val64: 1n }, ok())
    t.step('OPTION', { option_id: 0, op: GET }, ok({ val64: 1n }))
    t.step('OPTION', { option_id: 0, op: SET, val64: 2n }, fails('EINVAL'))
    t.step('OPTION', { option_id: 0, op: GET }, ok({ val64: 1n }))
    t.step('OPTION', { option_id: 0, op: SET, val64: 0n }, ok())
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
    t.step('OPTION', { option_id: 0, op: SET, val64: 1n }, fails('EBUSY'))
    t.step('OPTION', { option_id: 0, op: SET, val64: 9n }, fails('EBUSY'))
    t.step('OPTION', { option_id: 0, op: GET, val64: 7n }, ok({ val64: 0n }))
    t.step('DESTROY', { id: 1 }, ok())
    t.step('OPTION', { option_id: 0, op: SET, val64: 1n }, ok())
    t.step('OPTION', { option_id: 0, op: 2 }, fails('EOPNOTSUPP'))
    t.step('OPTION', { option_id: 0, op: GET, object_id: 1 }, fails('EOPNOTSUPP'))
    t.step('OPTION', { option_id: 0, op: GET, __reserved: 1 }, fails('EOPNOTSUPP'))
    t.step('OPTION', { option_id: 2, op: GET }, fails('EOPNOTSUPP'))
  },
  { needs: ['CAP_SYS_RESOURCE'] },
)

const CAP_SYS_RESOURCE = 24

export const rlimitModeUnprivileged = example(
  '01 §22.3 RLIMIT_MODE without CAP_SYS_RESOURCE (row 10)',
  (t) => {
    t.plain(`dropcap ${CAP_SYS_RESOURCE}`, 0)
    t.open()
    for (const val64 of [0n, 1n, 2n])
      t.step('OPTION', { option_id: 0, op: SET, val64 }, fails('EPERM'))
    t.step('OPTION', { option_id: 0, op: GET, val64: 5n }, ok({ val64: 0n }))
    t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
    for (const val64 of [0n, 1n, 2n])
      t.step('OPTION', { option_id: 0, op: SET, val64 }, fails('EPERM'))
  },
  { needs: ['CAP_SYS_RESOURCE to drop'] },
)

export const iovaRanges = example('01 §22.4 IOVA_RANGES on a fresh IOAS', (t) => {
  t.open()
  t.step('IOAS_ALLOC', {}, ok({ out_ioas_id: 1 }))
  t.fill(ARRAY, 64n, 0xaa)
  t.step(
    'IOAS_IOVA_RANGES',
    { ioas_id: 1, num_iovas: 4, allowed_iovas: ARRAY },
    ok({ num_iovas: 1, out_iova_alignment: 1n }),
  )
  t.sees(ARRAY, [...ranges([0n, MAX]), ...new Uint8Array(48).fill(0xaa)])
  t.step(
    'IOAS_IOVA_RANGES',
    { ioas_id: 1, num_iovas: 0, allowed_iovas: 0n },
    fails('EMSGSIZE', { num_iovas: 1, out_iova_alignment: 1n }),
  )
  t.step('IOAS_IOVA_RANGES', { ioas_id: 1, num_iovas: 1, allowed_iovas: UNMAPPED }, fails('EFAULT'))
  t.step('IOAS_IOVA_RANGES', { ioas_id: 99, __reserved: 1 }, fails('EOPNOTSUPP'))
  t.step('IOAS_IOVA_RANGES', { ioas_id: 99 }, fails('ENOENT'))
})
