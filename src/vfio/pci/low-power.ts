/** The low-power features of vfio-pci (06 §9.2). */
import type { UserVa } from '../../abi/brands.ts'
import { VFIO_DEVICE_FEATURES } from '../../abi/vfio/features.ts'
import type { Call, HeldEventfd } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { readExactly } from '../../engine/vfio-struct.ts'
import type { DeviceFeature } from '../driver.ts'
import { holdEventfd } from './eventfd.ts'

export const LowPowerEngaged = reasonKind({
  code: 'low-power-engaged',
  errno: 'EINVAL',
  cite: '06 §9.2',
  say: () => 'the device is in low power already',
  advice: 'Leave low power first (VFIO_DEVICE_FEATURE_LOW_POWER_EXIT).',
})
export const WakeupDescriptorNegative = reasonKind<{ descriptor: number }>({
  code: 'wakeup-descriptor-negative',
  errno: 'EINVAL',
  cite: '06 §9.2',
  say: ({ descriptor }) => `${descriptor} is no descriptor of an eventfd`,
  advice: 'Pass an open eventfd.',
})

const {
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY: ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT: EXIT,
} = VFIO_DEVICE_FEATURES
const WAKEUP_DATA = 8

export class LowPower {
  engaged = false
  #wakeup: HeldEventfd | undefined
  /** Engaged, or not any more: what clients have mapped may not be touched, or may again. */
  readonly #changed: () => void

  constructor(changed: () => void) {
    this.#changed = changed
  }

  feature(index: number): DeviceFeature | undefined {
    const set = { get: false, set: true, dataLength: 0 }
    if (index === ENTRY) return { ...set, run: () => this.#enter(undefined) }
    if (index === EXIT) return { ...set, run: () => this.exit() }
    if (index !== WITH_WAKEUP) return undefined
    return {
      ...set,
      dataLength: WAKEUP_DATA,
      run: (call, _operation, data) => this.#enterWithWakeup(call, data),
    }
  }

  #enterWithWakeup(call: Call, data: UserVa): Result<number> {
    const bytes = readExactly(call, data, WAKEUP_DATA, 'LOW_POWER_ENTRY_WITH_WAKEUP')
    if (bytes instanceof Refusal) return bytes
    const descriptor = new DataView(bytes.buffer, bytes.byteOffset, 4).getInt32(0, true)
    if (descriptor < 0) return refuse(WakeupDescriptorNegative, { descriptor })
    const eventfd = holdEventfd(call, descriptor)
    if (eventfd instanceof Refusal) return eventfd
    const entered = this.#enter(eventfd)
    if (entered instanceof Refusal) eventfd.close()
    return entered
  }

  #enter(wakeup: HeldEventfd | undefined): Result<number> {
    if (this.engaged) return refuse(LowPowerEngaged, {})
    this.engaged = true
    this.#wakeup = wakeup
    this.#changed()
    return 0
  }

  exit(): number {
    if (!this.engaged) return 0
    this.engaged = false
    this.#wakeup?.close()
    this.#wakeup = undefined
    this.#changed()
    return 0
  }

  /** A later access resumed the device: with a wake-up eventfd that ends low power. */
  accessed(): void {
    if (this.#wakeup === undefined) return
    this.#wakeup.signal()
    this.exit()
  }
}
