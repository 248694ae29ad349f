/** 04 §12 E1 to E4, E6, E7, E11 to E14: fault queues and virtual event queues. */
import { anything, example, fails, ok, type Steps, words } from '../example.ts'
import { ARRAY } from '../places.ts'
import {
  allocHwpt,
  destroy,
  eventQueue,
  FAULT_ID_VALID,
  faultQueue,
  NEST_PARENT,
  nested,
  nestedData,
  reads,
  replace,
  s1,
  s2,
  VEVENTQ_SELFTEST,
  writes,
} from './setups.ts'

const needs = { needs: ['test-interface'] } as const

const [POLLIN, POLLOUT] = [1, 4]
const [EINVAL, ESPIPE] = [-22, -29]
/** Slots. */
const [Q, E2] = [1, 2]

const read = (t: Steps, slot: number, count: number, wanted: number): void =>
  t.plain(`read ${slot} ${ARRAY} ${count}`, wanted)
const poll = (t: Steps, slot: number, events: number, wanted: number): void =>
  t.plain(`poll ${slot} ${events}`, wanted)

export const e1 = example('04 §12 E1 Fault queue file basics', (t) => {
  t.open()
  faultQueue(t, 1, Q)
  poll(t, Q, POLLIN | POLLOUT, POLLOUT)
  read(t, Q, 40, 0)
  read(t, Q, 0, 0)
  read(t, Q, 39, ESPIPE)
  read(t, Q, 41, ESPIPE)
  t.plain(`write ${Q} ${ARRAY} 0`, 0)
  writes(t, Q, words(1, 0), EINVAL)
  writes(t, Q, words(1, 0, 0), ESPIPE)
  t.plain(`lseek ${Q} 0 1`, ESPIPE)
  t.plain(`pread ${Q} ${ARRAY} 40 0`, ESPIPE)
  destroy(t, 1, fails('EBUSY'))
  t.close(Q)
  destroy(t, 1)
})

export const e2 = example('04 §12 E2 Struct size rules, IOMMU_FAULT_QUEUE_ALLOC', (t) => {
  t.open()
  t.step('FAULT_QUEUE_ALLOC', { size: 15 }, fails('EINVAL'))
  t.step('FAULT_QUEUE_ALLOC', { size: 17 }, fails('E2BIG'), { tail: [0xff] })
  t.step('FAULT_QUEUE_ALLOC', { flags: 1 }, fails('EOPNOTSUPP'))
  t.ioctl(0x3b8e, 0n, fails('EFAULT'))
  t.step('FAULT_QUEUE_ALLOC', {}, fails('ENOTTY'), { request: 0xc0103b8e })
  t.step('FAULT_QUEUE_ALLOC', { size: 24 }, ok({ out_fault_id: 1, out_fault_fd: anything }), {
    tail: [0, 0, 0, 0, 0, 0, 0, 0],
  })
})

const fault = (t: Steps, fields: object): void =>
  t.test('TRIGGER_IOPF', { dev_id: 3, ...fields }, ok())

export const e3 = example(
  '04 §12 E3 A fault through a nested HWPT',
  (t) => {
    s1(t)
    faultQueue(t, 5, Q)
    allocHwpt(t, 1, NEST_PARENT, ok({ out_hwpt_id: 6 }))
    nestedData(t)
    const nestedFault = { fault_id: 5, ...nested }
    allocHwpt(t, 6, FAULT_ID_VALID, fails('ENOENT'), { ...nestedFault, fault_id: 0xffffffff })
    allocHwpt(t, 1, NEST_PARENT | FAULT_ID_VALID, fails('EOPNOTSUPP'), { fault_id: 5 })
    allocHwpt(t, 6, FAULT_ID_VALID, ok({ out_hwpt_id: 7 }), nestedFault)
    replace(t, 2, 7)
    destroy(t, 4, fails('ENOENT'))
    destroy(t, 7, fails('EBUSY'))
    fault(t, { pasid: 1, grpid: 2, perm: 3, addr: 0xdeadbeafn })
    poll(t, Q, POLLIN | POLLOUT, POLLIN | POLLOUT)
    read(t, Q, 0, EINVAL)
    reads(t, Q, 40, words(3, 3, 1, 2, 3, 0, 0xdeadbeaf, 0, 0, 1))
    poll(t, Q, POLLIN, 0)
    writes(t, Q, words(1, 2), EINVAL)
    writes(t, Q, words(1, 0), 8)
    writes(t, Q, words(1, 0), EINVAL)
  },
  needs,
)

/** E4: the device is on a fault-capable paging HWPT 6. */
const faultCapable = (t: Steps): void => {
  s1(t)
  faultQueue(t, 5, Q)
  allocHwpt(t, 1, FAULT_ID_VALID, ok({ out_hwpt_id: 6 }), { fault_id: 5 })
  replace(t, 2, 6)
}

export const e4 = example(
  '04 §12 E4 Same device, fault-capable paging HWPT',
  (t) => {
    faultCapable(t)
    fault(t, { pasid: 0, grpid: 9, perm: 1, addr: 0x1000n })
    reads(t, Q, 400, words(2, 3, 0, 9, 1, 0, 0x1000, 0, 0, 1))
    fault(t, { pasid: 1, grpid: 9, perm: 1, addr: 0x1000n })
    read(t, Q, 40, 0)
  },
  needs,
)

export const e6 = example(
  '04 §12 E6 Cancelling on replace',
  (t) => {
    faultCapable(t)
    for (const grpid of [1, 2, 3]) fault(t, { grpid, perm: 1, addr: 0x1000n })
    reads(t, Q, 40, words(2, 3, 0, 1, 1, 0, 0x1000, 0, 0, 1))
    replace(t, 2, 6)
    poll(t, Q, POLLIN, POLLIN)
    replace(t, 2, 1, ok({ pt_id: 4 }))
    read(t, Q, 40, 0)
    poll(t, Q, POLLIN | POLLOUT, POLLOUT)
    writes(t, Q, words(1, 0), EINVAL)
    destroy(t, 6)
    destroy(t, 5, fails('EBUSY'))
    t.close(Q)
    destroy(t, 5)
  },
  needs,
)

export const e7 = example(
  '04 §12 E7 Queue file closed early',
  (t) => {
    faultCapable(t)
    fault(t, { grpid: 1, perm: 1, addr: 0x1000n })
    reads(t, Q, 40, words(2, 3, 0, 1, 1, 0, 0x1000, 0, 0, 1))
    t.close(Q)
    destroy(t, 5, fails('EBUSY'))
    fault(t, { grpid: 2, perm: 1, addr: 0x1000n })
    replace(t, 2, 1, ok({ pt_id: 4 }))
    destroy(t, 6)
    destroy(t, 5)
  },
  needs,
)

export const e11 = example(
  '04 §12 E11 vEVENTQ allocation',
  (t) => {
    s2(t)
    const alloc = (fields: object, wanted = fails('EOPNOTSUPP')): void =>
      t.step(
        'VEVENTQ_ALLOC',
        { viommu_id: 6, type: VEVENTQ_SELFTEST, veventq_depth: 1, ...fields },
        wanted,
      )
    alloc({ flags: 1 })
    alloc({ __reserved: 1 })
    alloc({ type: 0, veventq_depth: 0 })
    alloc({ veventq_depth: 0 }, fails('EINVAL'))
    alloc({ veventq_depth: 524289 }, fails('EINVAL'))
    alloc({ viommu_id: 5 }, fails('ENOENT'))
    eventQueue(t, 8, 524288, Q)
    alloc({}, fails('EEXIST'))
    eventQueue(t, 9, 1, E2, { type: 0x1234 })
    destroy(t, 8, fails('EBUSY'))
    t.close(Q)
    alloc({}, fails('EEXIST'))
    destroy(t, 8)
    eventQueue(t, 8, 1, Q, { size: 28 })
    alloc({ type: 7, size: 27 }, fails('EINVAL'))
  },
  needs,
)

const trigger = (t: Steps, wanted = ok()): void => t.test('TRIGGER_VEVENT', { dev_id: 3 }, wanted)

/** S2 with an event queue of that depth, and the device attached through the vIOMMU. */
const withEvents = (t: Steps, depth: number): void => {
  s2(t)
  eventQueue(t, 8, depth, Q)
  trigger(t, fails('ENOENT'))
  t.step('VDEVICE_ALLOC', { viommu_id: 6, dev_id: 3, virt_id: 0x99n }, ok({ out_vdevice_id: 9 }))
  replace(t, 2, 7)
}

export const e12 = example(
  '04 §12 E12 Overflow and sequence numbers',
  (t) => {
    withEvents(t, 2)
    trigger(t)
    reads(t, Q, 12, words(0, 0, 0x99))
    for (let i = 0; i < 4; i++) trigger(t)
    reads(t, Q, 400, words(0, 1, 0x99, 0, 2, 0x99, 1, 4))
    read(t, Q, 400, 0)
    trigger(t)
    reads(t, Q, 12, words(0, 5, 0x99))
  },
  needs,
)

export const e13 = example(
  '04 §12 E13 Marker dropped by a later event',
  (t) => {
    withEvents(t, 1)
    trigger(t)
    trigger(t)
    reads(t, Q, 12, words(0, 0, 0x99))
    poll(t, Q, POLLIN, POLLIN)
    trigger(t)
    reads(t, Q, 100, words(0, 2, 0x99))
    trigger(t)
    trigger(t)
    reads(t, Q, 12, words(0, 3, 0x99))
    reads(t, Q, 8, words(1, 4))
  },
  needs,
)

export const e14 = example(
  '04 §12 E14 vEVENTQ read sizes',
  (t) => {
    withEvents(t, 2)
    read(t, Q, 0, EINVAL)
    read(t, Q, 7, EINVAL)
    read(t, Q, 8, 0)
    trigger(t)
    for (const count of [0, 7, 8, 11]) read(t, Q, count, EINVAL)
    reads(t, Q, 256, words(0, 0, 0x99))
    trigger(t)
    trigger(t)
    reads(t, Q, 20, words(0, 1, 0x99))
    reads(t, Q, 12, words(0, 2, 0x99))
    writes(t, Q, words(0, 0), EINVAL)
    poll(t, Q, POLLOUT, 0)
  },
  needs,
)
