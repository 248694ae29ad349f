/** Mock devices: made, moved, their PASIDs and caches, their faults and events (05 §A.7 ops 2, 10, 12, 15 to 21). */
import { hex, type ObjectId, type Pasid } from '../../abi/brands.ts'
import { iommu_viommu_event_selftest } from '../../abi/iommufd/events.ts'
import { IOMMU_VEVENTQ_TYPE_SELFTEST } from '../../abi/selftest-types.ts'
import {
  MOCK_DEVICE_FLAGS,
  TEST_DEV_CHECK_CACHE,
  TEST_MOCK_DOMAIN,
  TEST_MOCK_DOMAIN_FLAGS,
  TEST_MOCK_DOMAIN_REPLACE,
  TEST_PASID_ATTACH,
  TEST_PASID_CHECK_HWPT,
  TEST_PASID_DETACH,
  TEST_PASID_REPLACE,
  TEST_TRIGGER_IOPF,
  TEST_TRIGGER_VEVENT,
} from '../../abi/test-cmd.ts'
import { attachDevice, replaceDevice } from '../../engine/attach.ts'
import { attachPasid, detachPasid, replacePasid } from '../../engine/attach-pasid.ts'
import { bindDevice, Device, unbindDevice } from '../../engine/device.ts'
import { reportFault } from '../../engine/fault-report.ts'
import type { Hwpt } from '../../engine/hwpt.ts'
import { KernelObject } from '../../engine/objects.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { MockDevice } from '../mock/mock-device.ts'
import type { TestBench } from './test-bench.ts'
import { type Asking, testOperation } from './test-operation.ts'

export const TestDeviceFlagUnknown = reasonKind<{ flags: number }>({
  code: 'test-device-flag-unknown',
  errno: 'EINVAL',
  cite: '05 §A.7 ops 2 and 12 step 2',
  say: ({ flags }) => `dev_flags ${hex(flags)} have bits other than NO_DIRTY (1) and PASID (4)`,
  advice: 'Use only MOCK_FLAGS_DEVICE_NO_DIRTY and MOCK_FLAGS_DEVICE_PASID.',
})

export const TestDeviceNotMock = reasonKind<{ device: string }>({
  code: 'test-device-not-mock',
  errno: 'EINVAL',
  cite: '05 §A.7 ops 15 and 16',
  say: ({ device }) => `${device} is not a mock device`,
  advice: 'Use a device that IOMMU_TEST_OP_MOCK_DOMAIN made.',
})

export const TestCacheDiffers = reasonKind<{
  device: string
  entry: number
  found: number | undefined
  expected: number
}>({
  code: 'test-cache-differs',
  errno: 'EINVAL',
  cite: '05 §A.7 op 16',
  say: ({ device, entry, found, expected }) =>
    found === undefined
      ? `${device} has no cache entry ${entry}`
      : `cache entry ${entry} of ${device} holds ${hex(found)}, not ${hex(expected)}`,
  advice: 'The caches are not as the test expects: look at which invalidations reached the device.',
})

export const TestNoVirtualDevice = reasonKind<{ device: string }>({
  code: 'test-no-virtual-device',
  errno: 'ENOENT',
  cite: '05 §A.7 op 17 step 2',
  say: ({ device }) =>
    `${device} is not on a nested page table of a vIOMMU, or its virtual ID is 0`,
  advice:
    'Attach the device to a nested HWPT of a vIOMMU and give it a vDEVICE with a virt_id first.',
})

export const TestPasidHwptDiffers = reasonKind<{
  pasid: number
  found: string | undefined
  expected: number
}>({
  code: 'test-pasid-hwpt-differs',
  errno: 'EINVAL',
  cite: '05 §A.7 op 21',
  say: ({ pasid, found, expected }) =>
    `${found ?? 'nothing'} is attached on PASID ${pasid}, not ${expected === 0 ? 'nothing' : `HWPT ${expected}`}`,
  advice: 'The PASID is not where the test expects it: look at which attach or detach came last.',
})

/** The selftest object: what owns a mock device and its binding. */
export class SelftestDevice extends KernelObject {
  readonly type = 'selftest'
  readonly #bench: TestBench
  readonly mock: MockDevice
  readonly device: Device

  constructor(bench: TestBench, id: ObjectId, mock: MockDevice, device: Device) {
    super(device.context, id)
    this.#bench = bench
    this.mock = mock
    this.device = device
  }

  /** Detaches and unbinds, which takes PASID attachments along (05 §A.2.3). */
  teardown(): void {
    unbindDevice(this.device)
    this.#bench.iommu.removeDevice(this.mock)
  }
}

type Outputs = { out_stdev_id: ObjectId; out_hwpt_id: ObjectId; out_idev_id: ObjectId }

const createDevice = (
  request: Asking,
  ptId: number,
  flags: number,
  respond: (outputs: Outputs) => Result<void>,
): Result<void> => {
  const { bench, context, call } = request
  const stdevId = context.objects.reserve(call)
  if (stdevId instanceof Refusal) return stdevId
  const undone = (refusal: Refusal): Refusal => {
    context.objects.abort(stdevId)
    return refusal
  }
  const known =
    MOCK_DEVICE_FLAGS.MOCK_FLAGS_DEVICE_NO_DIRTY | MOCK_DEVICE_FLAGS.MOCK_FLAGS_DEVICE_PASID
  if ((flags & ~known) !== 0) return undone(refuse(TestDeviceFlagUnknown, { flags }))
  const mock = bench.iommu.createDevice(flags)
  const device = bindDevice(call, context, mock, { holdsContext: false })
  if (device instanceof Refusal) {
    bench.iommu.removeDevice(mock)
    return undone(device)
  }
  const stdev = new SelftestDevice(bench, stdevId, mock, device)
  const hwpt = attachDevice(call, device, ptId)
  if (hwpt instanceof Refusal) {
    stdev.teardown()
    return undone(hwpt)
  }
  const told = respond({
    out_stdev_id: stdevId,
    out_hwpt_id: hwpt.id,
    out_idev_id: device.id,
  })
  if (told instanceof Refusal) {
    stdev.teardown()
    return undone(told)
  }
  context.objects.publish(stdev)
}

const findStdev = ({ context, call }: Asking, id: number): Result<SelftestDevice> =>
  context.objects.find(id, SelftestDevice, 'mock device', call)

const findDevice = ({ context, call }: Asking, id: number): Result<Device> =>
  context.objects.find(id, Device, 'device', call)

const hwptOn = (device: Device, pasid: Pasid): Hwpt | undefined => device.hwptOfPasid(pasid)

export const deviceOperations = [
  testOperation(TEST_MOCK_DOMAIN, (request) =>
    createDevice(request, request.args.id, 0, request.respond),
  ),

  testOperation(TEST_MOCK_DOMAIN_FLAGS, (request) =>
    createDevice(request, request.args.id, request.args.dev_flags, request.respond),
  ),

  testOperation(TEST_MOCK_DOMAIN_REPLACE, (request) => {
    const stdev = findStdev(request, request.args.id)
    if (stdev instanceof Refusal) return stdev
    const hwpt = replaceDevice(request.call, stdev.device, request.args.pt_id)
    if (hwpt instanceof Refusal) return hwpt
    // The replacement stays when this faults (05 §A.7 op 10 step 8).
    return request.respond({ pt_id: hwpt.id })
  }),

  testOperation(TEST_PASID_ATTACH, (request) => {
    const { call, args } = request
    const stdev = findStdev(request, args.id)
    if (stdev instanceof Refusal) return stdev
    const hwpt = attachPasid(call, stdev.device, args.pasid, args.pt_id)
    if (hwpt instanceof Refusal) return hwpt
    const told = request.respond({ pt_id: hwpt.id })
    if (told instanceof Refusal) detachPasid(stdev.device, args.pasid)
    return told
  }),

  testOperation(TEST_PASID_REPLACE, (request) => {
    const { call, args } = request
    const stdev = findStdev(request, args.id)
    if (stdev instanceof Refusal) return stdev
    const hwpt = replacePasid(call, stdev.device, args.pasid, args.pt_id)
    if (hwpt instanceof Refusal) return hwpt
    return request.respond({ pt_id: hwpt.id })
  }),

  testOperation(TEST_PASID_DETACH, (request) => {
    const stdev = findStdev(request, request.args.id)
    if (stdev instanceof Refusal) return stdev
    detachPasid(stdev.device, request.args.pasid)
  }),

  testOperation(TEST_PASID_CHECK_HWPT, (request) => {
    const { context, call, args } = request
    const stdev = findStdev(request, args.id)
    if (stdev instanceof Refusal) return stdev
    const found = hwptOn(stdev.device, args.pasid)
    const fields = { pasid: args.pasid, found: found?.toString(), expected: args.hwpt_id }
    if (args.hwpt_id === 0) {
      if (found !== undefined) return refuse(TestPasidHwptDiffers, fields)
      return
    }
    const named = context.objects.find(args.hwpt_id, KernelObject, 'object', call)
    if (named instanceof Refusal) return named
    if (named !== found) return refuse(TestPasidHwptDiffers, fields)
  }),

  testOperation(TEST_DEV_CHECK_CACHE, (request) => {
    const { id, entry_id: entry, cache: expected } = request.args
    const device = findDevice(request, id)
    if (device instanceof Refusal) return device
    const mock = device.iommuDevice
    if (!(mock instanceof MockDevice)) return refuse(TestDeviceNotMock, { device: device.name })
    const found = mock.cache[entry]
    if (found !== expected)
      return refuse(TestCacheDiffers, { device: device.name, entry, found, expected })
  }),

  testOperation(TEST_TRIGGER_IOPF, (request) => {
    const { dev_id, pasid, grpid, perm, addr } = request.args
    const device = findDevice(request, dev_id)
    if (device instanceof Refusal) return device
    const mock = device.iommuDevice
    if (!(mock instanceof MockDevice)) return refuse(TestDeviceNotMock, { device: device.name })
    // Success whether or not anybody receives it.
    reportFault(request.context.machine.groups, mock, {
      ...(pasid === 0 ? {} : { pasid }),
      grpid,
      perm,
      address: addr,
      last: true,
    })
  }),

  testOperation(TEST_TRIGGER_VEVENT, (request) => {
    const device = findDevice(request, request.args.dev_id)
    if (device instanceof Refusal) return device
    const mock = device.iommuDevice
    if (!(mock instanceof MockDevice) || mock.viommu === undefined || mock.virtId === 0n)
      return refuse(TestNoVirtualDevice, { device: device.name })
    const virt_id = Number(mock.virtId & 0xffff_ffffn)
    const payload = iommu_viommu_event_selftest.encode({ virt_id })
    return mock.viommu.reportEvent(IOMMU_VEVENTQ_TYPE_SELFTEST, payload)
  }),
]
