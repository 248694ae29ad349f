/**
 * The vfio-pci driver for one simulated function (06): what the generic VFIO files (02 §5) do not do
 * themselves. The function behind it is a `PciModel`.
 */
import {
  byteLength,
  type FileOffset,
  fileOffset,
  type ObjectId,
  type UserVa,
} from '../../abi/brands.ts'
import {
  VFIO_DEVICE_FLAGS,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_RESET,
} from '../../abi/vfio/device.ts'
import {
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_NUM_IRQS,
} from '../../abi/vfio/irq.ts'
import {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
} from '../../abi/vfio/pci.ts'
import {
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_REGIONS,
  VFIO_REGION_INFO_CAPS,
  VFIO_REGION_INFO_FLAGS,
} from '../../abi/vfio/region.ts'
import type { MmapRegion, MmapRequest } from '../../engine/file.ts'
import type { IommuDevice } from '../../engine/iommu-driver.ts'
import type { Machine } from '../../engine/machine.ts'
import type { Call } from '../../engine/ports.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import { readVfioStruct, writeVfioStruct } from '../../engine/vfio-struct.ts'
import type { VfioDevice } from '../device.ts'
import type { DeviceFeature, RegionInfo, VfioDriver } from '../driver.ts'
import { matchPciName } from '../pci-name.ts'
import { BarAbsent, BarAccess, isMappable } from './bar-access.ts'
import { ConfigSpace, regionStart, splitOffset } from './config-space.ts'
import { CapabilityId, HardwareConfig, PciCommand } from './hardware-config.ts'
import { hotReset, hotResetInfo } from './hot-reset.ts'
import { Interrupts } from './interrupts.ts'
import { Ioeventfds } from './ioeventfd.ts'
import { LowPower } from './low-power.ts'
import type { PciModel, PciServices, PciTimers } from './pci-model.ts'
import { pciServices } from './pci-services.ts'
import { formatAddress, type PciAddress, type PciBus } from './pci-slot.ts'
import { refuseToken } from './vf-token.ts'

export const PciUnknownIoctl = reasonKind<{ request: number }>({
  code: 'pci-unknown-ioctl',
  errno: 'ENOTTY',
  cite: '06 §2.3',
  say: ({ request }) => `0x${request.toString(16)} is no request of vfio-pci`,
  advice:
    'Use the VFIO_DEVICE_* requests here; mappings are made on the container or on the iommufd.',
})
export const RegionUnknown = reasonKind<{ region: number }>({
  code: 'region-unknown',
  errno: 'EINVAL',
  cite: '06 §4.2, §4.3',
  say: ({ region }) => `there is no region ${region}`,
  advice: 'Ask for regions below num_regions of VFIO_DEVICE_GET_INFO.',
})
export const DeviceHasNoReset = reasonKind<{ device: string }>({
  code: 'device-has-no-reset',
  errno: 'EINVAL',
  cite: '06 §7.1',
  say: ({ device }) => `${device} has no way to be reset`,
  advice: 'Look for VFIO_DEVICE_FLAGS_RESET in VFIO_DEVICE_GET_INFO before resetting.',
})

const { VFIO_PCI_CONFIG_REGION_INDEX: CONFIG, VFIO_PCI_ROM_REGION_INDEX: ROM } = VFIO_PCI_REGIONS
const LAST_BAR = VFIO_PCI_REGIONS.VFIO_PCI_BAR5_REGION_INDEX
const {
  VFIO_REGION_INFO_FLAG_READ: READ,
  VFIO_REGION_INFO_FLAG_WRITE: WRITE,
  VFIO_REGION_INFO_FLAG_MMAP: MMAP,
} = VFIO_REGION_INFO_FLAGS

export interface VfioPciOptions {
  readonly address: PciAddress
  readonly bus: PciBus
  readonly model: PciModel
  readonly device: IommuDevice
  /** Bus addresses that firmware gave the BARs, by index. */
  readonly barAddresses: ReadonlyMap<number, number>
  readonly timers: PciTimers
  /** Default: true, as on present x86 hosts. */
  readonly dynamicMsix?: boolean
}

export class VfioPci implements VfioDriver {
  readonly name = 'vfio-pci'
  readonly address: PciAddress
  readonly bdf: string
  readonly bus: PciBus
  readonly model: PciModel
  readonly barAddresses: ReadonlyMap<number, number>
  readonly #machine: Machine
  readonly #device: IommuDevice
  readonly #hw: HardwareConfig
  readonly #interrupts: Interrupts
  readonly #bars: BarAccess
  readonly #ioeventfds = new Ioeventfds()
  readonly #lowPower = new LowPower(() => this.#gateBars())
  readonly #services: PciServices
  #config: ConfigSpace | undefined
  #place: VfioDevice | undefined

  constructor(machine: Machine, options: VfioPciOptions) {
    const { model, address, bus, device, timers } = options
    this.#machine = machine
    this.address = address
    this.bdf = formatAddress(address)
    this.bus = bus
    this.model = model
    this.barAddresses = options.barAddresses
    this.#device = device
    this.#hw = new HardwareConfig(model, options.barAddresses)
    this.#interrupts = new Interrupts(machine, model, this.#hw, {
      dynamicMsix: options.dynamicMsix ?? true,
    })
    const disabled = (): string | undefined => this.#memoryDisabled()
    this.#bars = new BarAccess(model, {
      get disabled() {
        return disabled()
      },
    })
    this.#services = pciServices({
      machine,
      device,
      model,
      bdf: this.bdf,
      hw: this.#hw,
      interrupts: this.#interrupts,
      timers,
      memoryDisabled: disabled,
    })
    bus.functions.push(this)
  }

  /** The VFIO device that this driver serves; told once it has been registered. */
  place(device: VfioDevice): void {
    this.#place = device
  }

  /** The host would have the device back: told to whoever uses it, if they asked to be (06 §6.5). */
  wantBack(): void {
    this.#interrupts.request.signal()
  }

  /** Hardware's own configuration space, as sysfs `config` shows it. */
  get hardwareConfig(): Uint8Array {
    return this.#hw.bytes
  }

  get groupNumber(): number {
    return this.#device.group.number
  }

  get openedThroughCdev(): boolean {
    const device = this.#place
    return device?.group.boundCdevs.has(device) ?? false
  }

  get boundId(): ObjectId | undefined {
    return this.#place?.bound?.id
  }

  get boundContext(): object | undefined {
    return this.#machine.groups.deviceOf(this.#device)?.context
  }

  get groupOwner(): object | undefined {
    return this.#machine.groups.of(this.#device).owner
  }

  matches(requested: string): Result<boolean> {
    const match = matchPciName(this.bdf, requested)
    if (match === undefined) return false
    if (match instanceof Refusal) return match
    return refuseToken(this.bdf, match.token) ?? true
  }

  checkToken(token: Uint8Array | undefined): Result<void> {
    return refuseToken(this.bdf, token)
  }

  /** 06 §2.4. */
  open(): void {
    const { bars } = this.model
    let command = this.#hw.command & ~(PciCommand.MASTER | PciCommand.INTX_DISABLE)
    if (bars.some((bar) => bar.kind !== 'io')) command |= PciCommand.MEMORY
    if (bars.some((bar) => bar.kind === 'io')) command |= PciCommand.IO
    this.#hw.command = command
    this.model.reset()
    this.#config = new ConfigSpace(this.#hw, bars, this.#effects())
    this.model.opened?.(this.#services)
    this.#gateBars()
  }

  /** 06 §2.4, "Last close". */
  close(): void {
    this.#lowPower.exit()
    this.#setPowerState(0)
    this.#hw.command &= ~PciCommand.MASTER
    this.model.commandChanged?.()
    this.#ioeventfds.close()
    this.#interrupts.close()
    this.#config = undefined
    this.model.closed?.()
    this.model.reset()
  }

  #effects() {
    const pci = this
    return {
      commandWritten(): void {
        pci.#gateBars()
        pci.model.commandChanged?.()
      },
      intxDisable: (disabled: boolean): void => pci.#interrupts.intx.setDisabled(disabled),
      powerState: (state: number): void => pci.#setPowerState(state),
      functionReset: (): void => pci.resetFunction(),
      get msiActive(): boolean {
        return pci.#interrupts.msi.active
      },
      get msiVectorsEver(): number {
        return pci.#interrupts.msi.vectorsEver
      },
    }
  }

  // --- power and resets ---------------------------------------------------------------------------

  #memoryDisabled(): string | undefined {
    if (this.#config?.memoryEnabled !== true) return 'memory is disabled in COMMAND'
    const at = this.#hw.capability(CapabilityId.PM)
    if (at !== undefined && ((this.#hw.bytes[at + 4] ?? 0) & 3) === 3)
      return 'the device is in power state D3hot'
    return undefined
  }

  /** Mapped BARs fault while memory does not answer (06 §4.4, §12.2 rule 9). */
  #gateBars(): void {
    const accessible = this.#memoryDisabled() === undefined && !this.#lowPower.engaged
    for (const bar of this.model.bars) bar.memory?.setAccessible?.(accessible)
  }

  #setPowerState(state: number): void {
    const at = this.#hw.capability(CapabilityId.PM)
    if (at === undefined) return
    const supports = this.#hw.view.getUint16(at + 2, true)
    // PMC bits 9 and 10: D1 and D2 are supported.
    if ((state === 1 && (supports & 0x200) === 0) || (state === 2 && (supports & 0x400) === 0))
      return
    this.#hw.bytes[at + 4] = ((this.#hw.bytes[at + 4] ?? 0) & ~3) | state
    this.#gateBars()
  }

  /** The function's own reset, whatever asks for it: registers only (06 §7.1). */
  resetFunction(): void {
    this.#setPowerState(0)
    this.#interrupts.msix.forgetPending()
    this.model.reset()
  }

  #reset(): Result<number> {
    if (!this.model.resettable) return refuse(DeviceHasNoReset, { device: this.bdf })
    this.resetFunction()
    return 0
  }

  // --- requests -----------------------------------------------------------------------------------

  ioctl(call: Call, request: number, argument: UserVa): Result<number> {
    this.#lowPower.accessed()
    const result = this.#serve(call, request, argument)
    this.model.trapped?.()
    return result
  }

  #serve(call: Call, request: number, argument: UserVa): Result<number> {
    switch (request) {
      case VFIO_DEVICE_GET_INFO.request:
        return this.#getInfo(call, argument)
      case VFIO_DEVICE_GET_IRQ_INFO.request:
        return this.#interrupts.getInfo(call, argument)
      case VFIO_DEVICE_SET_IRQS.request:
        return this.#interrupts.set(call, argument)
      case VFIO_DEVICE_RESET.request:
        return this.#reset()
      case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.request:
        return hotResetInfo(this.#machine, call, argument, this)
      case VFIO_DEVICE_PCI_HOT_RESET.request:
        return hotReset(this.#machine, call, argument, this)
      case VFIO_DEVICE_IOEVENTFD.request:
        return this.#ioeventfds.set(this.#machine, call, argument, this.#bars)
      default:
        return refuse(PciUnknownIoctl, { request })
    }
  }

  #getInfo(call: Call, argument: UserVa): Result<number> {
    const declared = VFIO_DEVICE_GET_INFO
    const args = readVfioStruct(this.#machine, call, argument, declared)
    if (args instanceof Refusal) return args
    const { VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_RESET } = VFIO_DEVICE_FLAGS
    const answer = {
      argsz: args.argsz,
      flags: VFIO_DEVICE_FLAGS_PCI | (this.model.resettable ? VFIO_DEVICE_FLAGS_RESET : 0),
      num_regions: VFIO_PCI_NUM_REGIONS,
      num_irqs: VFIO_PCI_NUM_IRQS,
      cap_offset: 0,
      pad: 0,
    }
    const length = Math.min(args.argsz, declared.struct.size)
    return writeVfioStruct(this.#machine, call, argument, declared, answer, length) ?? 0
  }

  regionInfo(index: number): Result<RegionInfo> {
    const at = { offset: fileOffset(regionStart(index)) }
    if (index === CONFIG)
      return { ...at, flags: READ | WRITE, size: byteLength(BigInt(this.#hw.size)) }
    if (index > ROM) return refuse(RegionUnknown, { region: index })
    const bar = index <= LAST_BAR ? this.#bars.bar(index) : undefined
    if (bar === undefined) return { ...at, flags: 0, size: byteLength(0n) }
    const mappable = isMappable(bar)
    const size = byteLength(BigInt(bar.length))
    const flags = READ | WRITE | (mappable ? MMAP : 0)
    if (!mappable || this.model.msix?.tableBar !== index) return { ...at, flags, size }
    const { VFIO_REGION_INFO_CAP_MSIX_MAPPABLE: id } = VFIO_REGION_INFO_CAPS
    return { ...at, flags, size, capabilities: [{ id, version: 1, payload: new Uint8Array(0) }] }
  }

  feature(index: number): DeviceFeature | undefined {
    return this.#lowPower.feature(index)
  }

  read(call: Call, buffer: UserVa, count: number, position: FileOffset): Result<number> {
    if (count === 0) return 0
    this.#lowPower.accessed()
    const { index, offset } = splitOffset(position)
    if (index === CONFIG && this.#config !== undefined)
      return this.#config.read(call, buffer, count, offset)
    if (index <= LAST_BAR) return this.#bars.read(call, buffer, count, index, offset)
    return this.#otherRegion(index)
  }

  write(call: Call, buffer: UserVa, count: number, position: FileOffset): Result<number> {
    if (count === 0) return 0
    this.#lowPower.accessed()
    const { index, offset } = splitOffset(position)
    if (index === CONFIG && this.#config !== undefined)
      return this.#config.write(call, buffer, count, offset)
    if (index <= LAST_BAR) return this.#bars.write(call, buffer, count, index, offset)
    return this.#otherRegion(index)
  }

  /** No simulated function has a ROM or VGA; beyond is nothing. */
  #otherRegion(index: number): Refusal {
    return index < VFIO_PCI_NUM_REGIONS
      ? refuse(BarAbsent, { region: index })
      : refuse(RegionUnknown, { region: index })
  }

  mmap(_call: Call, request: MmapRequest): Result<MmapRegion> {
    const { index } = splitOffset(request.offset)
    if (index >= VFIO_PCI_NUM_REGIONS) return refuse(RegionUnknown, { region: index })
    return this.#bars.mmap(request)
  }
}
