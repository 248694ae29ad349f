/**
 * vfio-pci as a driver of the PCI bus: which functions it has, and the files in /sys by which that is
 * changed (06 §10.2). Answers are those of Linux 7.2.13, observed.
 */
import { hex } from '../../abi/brands.ts'
import { Later } from '../../engine/later.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import type { Vfio } from '../vfio.ts'
import type { PciFunction } from './pci-function.ts'
import type { PciTimers } from './pci-model.ts'

export const SysfsNoSuchFunction = reasonKind<{ written: string; functions: readonly string[] }>({
  code: 'sysfs-no-such-function',
  errno: 'ENODEV',
  cite: '06 §10.2',
  say: ({ written, functions }) =>
    `there is no PCI function ${JSON.stringify(written)}; there are ${functions.join(', ')}`,
  advice: 'Write an address as /sys/bus/pci/devices lists them, such as 0000:01:00.0.',
})

export const FunctionNotBound = reasonKind<{ bdf: string }>({
  code: 'function-not-bound',
  errno: 'ENODEV',
  cite: '06 §10.2',
  say: ({ bdf }) => `${bdf} is not bound to vfio-pci`,
  advice: 'See its driver link; without one there is nothing to unbind.',
})

export const FunctionAlreadyBound = reasonKind<{ bdf: string }>({
  code: 'function-already-bound',
  errno: 'EBUSY',
  cite: '06 §10.2',
  say: ({ bdf }) => `${bdf} has a driver already`,
  advice: 'Write its address to driver/unbind first.',
})

export const DriverDoesNotMatch = reasonKind<{ bdf: string; override: string | undefined }>({
  code: 'driver-does-not-match',
  errno: 'ENODEV',
  cite: '06 §10.2',
  say: ({ bdf, override }) =>
    override === undefined
      ? `vfio-pci does not know the IDs of ${bdf}, and its driver_override is not set`
      : `the driver_override of ${bdf} is ${override}`,
  advice: 'Write vfio-pci to its driver_override, or its IDs to new_id.',
})

export const DriverIdMalformed = reasonKind<{ written: string }>({
  code: 'driver-id-malformed',
  errno: 'EINVAL',
  cite: '06 §10.2',
  say: ({ written }) =>
    `${JSON.stringify(written)} has fewer than two hexadecimal numbers, vendor and device`,
  advice: 'Write them as in "1234 11e8".',
})

export const DriverIdKnown = reasonKind<{ vendor: number; device: number }>({
  code: 'driver-id-known',
  errno: 'EEXIST',
  cite: '06 §10.2',
  say: ({ vendor, device }) => `vfio-pci takes ${hex(vendor)}:${hex(device)} already`,
  advice: 'Write the address of the function to bind.',
})

export const DriverIdUnknown = reasonKind<{ vendor: number; device: number }>({
  code: 'driver-id-unknown',
  errno: 'ENODEV',
  cite: '06 §10.2',
  say: ({ vendor, device }) => `${hex(vendor)}:${hex(device)} was never written to new_id`,
  advice: 'Write the numbers as they were written to new_id; nothing is wrong if they never were.',
})

/** What new_id adds: IDs that match, with what matches anything. */
interface DynamicId {
  readonly vendor: number
  readonly device: number
  readonly subvendor: number
  readonly subdevice: number
  readonly classCode: number
  readonly classMask: number
}

const ANY = 0xffff_ffff
const NAME = 'vfio-pci'
/** While a function is wanted back, its user is reminded so often. */
const REMINDER_MILLISECONDS = 10_000

export class PciDriver {
  /** How often anything changed that sysfs shows. */
  changes = 0
  readonly #vfio: Vfio
  readonly #timers: PciTimers
  readonly #functions: readonly PciFunction[]
  #ids: readonly DynamicId[] = []

  constructor(vfio: Vfio, timers: PciTimers, functions: readonly PciFunction[]) {
    this.#vfio = vfio
    this.#timers = timers
    this.#functions = functions
  }

  /** Takes the function, whatever it matches. Throws where VFIO cannot have it. */
  take(fn: PciFunction): void {
    const { pci, device } = fn
    fn.vfio = this.#vfio.addPhysical({ name: pci.bdf, device, driver: () => pci })
    pci.place(fn.vfio)
    this.changes += 1
  }

  bind(written: string): Result<void> {
    const fn = this.#named(written)
    if (fn instanceof Refusal) return fn
    const { bdf, driverOverride: override } = fn
    if (!this.#matches(fn)) return refuse(DriverDoesNotMatch, { bdf, override })
    if (fn.vfio !== undefined || fn.leaving) return refuse(FunctionAlreadyBound, { bdf })
    this.take(fn)
  }

  /** No driver that matches is no error; nor is a function that has one. */
  probe(written: string): Result<void> {
    const fn = this.#named(written)
    if (fn instanceof Refusal) return fn
    if (fn.vfio === undefined && !fn.leaving && this.#matches(fn)) this.take(fn)
  }

  /** Waits until every file of the device is closed, and asks its user for it (06 §2.4). */
  unbind(written: string): Result<void> | Later<void> {
    const fn = this.#named(written)
    if (fn instanceof Refusal) return fn
    const { vfio } = fn
    if (vfio === undefined) return refuse(FunctionNotBound, { bdf: fn.bdf })
    fn.vfio = undefined
    this.changes += 1
    const unused = this.#vfio.remove(vfio)
    if (unused === undefined) return
    fn.leaving = true
    const reminder = this.#remind(fn)
    const left = new Later<void>()
    unused.when(() => {
      reminder.stop()
      fn.leaving = false
      left.resolve()
    })
    return left
  }

  #remind(fn: PciFunction): { stop(): void } {
    let cancel = (): void => {}
    const remind = (): void => {
      fn.pci.wantBack()
      cancel = this.#timers.after(REMINDER_MILLISECONDS, remind)
    }
    remind()
    return { stop: () => cancel() }
  }

  /** Takes every function without driver that matches now. */
  newId(written: string): Result<void> {
    const id = parseId(written)
    if (id instanceof Refusal) return id
    if (this.#ids.some((known) => covers(known, id))) return refuse(DriverIdKnown, id)
    this.#ids = [...this.#ids, id]
    for (const fn of this.#functions)
      if (fn.vfio === undefined && !fn.leaving && this.#matches(fn)) this.take(fn)
  }

  removeId(written: string): Result<void> {
    const id = parseId(written)
    if (id instanceof Refusal) return id
    const same = (known: DynamicId): boolean =>
      known.vendor === id.vendor &&
      known.device === id.device &&
      (id.subvendor === ANY || known.subvendor === id.subvendor) &&
      (id.subdevice === ANY || known.subdevice === id.subdevice) &&
      ((known.classCode ^ id.classCode) & id.classMask) === 0
    const index = this.#ids.findIndex(same)
    if (index < 0) return refuse(DriverIdUnknown, id)
    this.#ids = this.#ids.filter((_, i) => i !== index)
  }

  /** The name of a driver up to the end of its line; nothing unsets it. */
  override(fn: PciFunction, written: string): void {
    const [name = ''] = written.split('\n')
    fn.driverOverride = name === '' ? undefined : name
    this.changes += 1
  }

  #named(written: string): Result<PciFunction> {
    const name = written.replace(/\n$/, '')
    const found = this.#functions.find(({ bdf }) => bdf === name)
    const functions = this.#functions.map(({ bdf }) => bdf)
    return found ?? refuse(SysfsNoSuchFunction, { written: name, functions })
  }

  #matches({ driverOverride, pci }: PciFunction): boolean {
    if (driverOverride !== undefined) return driverOverride === NAME
    const { identity } = pci.model
    const { vendor, device, classCode } = identity
    const { subsystemVendor: subvendor, subsystemDevice: subdevice } = identity
    const own = { vendor, device, subvendor, subdevice, classCode, classMask: 0 }
    return this.#ids.some((known) => covers(known, own))
  }
}

const fits = (known: number, value: number): boolean => known === ANY || known === value

const covers = (known: DynamicId, id: DynamicId): boolean =>
  fits(known.vendor, id.vendor) &&
  fits(known.device, id.device) &&
  fits(known.subvendor, id.subvendor) &&
  fits(known.subdevice, id.subdevice) &&
  ((known.classCode ^ id.classCode) & known.classMask) === 0

/** As many hexadecimal numbers as there are, up to the first word that is none. */
const parseId = (written: string): Result<DynamicId> => {
  const numbers: number[] = []
  for (const word of written.trim().split(/\s+/)) {
    if (!/^(0x)?[0-9a-f]{1,8}$/i.test(word)) break
    numbers.push(Number.parseInt(word, 16))
  }
  const [vendor, device, subvendor = ANY, subdevice = ANY, classCode = 0, classMask = 0] = numbers
  if (vendor === undefined || device === undefined) return refuse(DriverIdMalformed, { written })
  return { vendor, device, subvendor, subdevice, classCode, classMask }
}
