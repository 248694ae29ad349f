/** Where the scripts put things: fixed addresses, the same in every process that plays them. */

export const PAGE = 0x1000n
export const HUGE = 0x200000n
export const MAX = 0xffff_ffff_ffff_ffffn

/** `B` of the worked examples: private anonymous memory, mapped by `buffer()`. */
export const B = 0x1000_0000_0000n
/** Two pages for the structure of the call at hand. */
export const STRUCT = 0x2000_0000_0000n
/** Two pages for arrays and driver data that a structure points to. */
export const ARRAY = 0x2000_0001_0000n
/** Space where a case maps pages of its own, at any offset below 16 MiB. */
export const SPARE = 0x2000_1000_0000n
/** Nothing is ever mapped here. */
export const UNMAPPED = 0x3000_0000_0000n

/** The emulated devices of the examples that need 'scratch-devices', and their groups. */
export const scratchDevices = [
  { name: 'scratch0', group: 7 },
  { name: 'scratch1', group: 8 },
] as const

/**
 * The physical devices of the examples that need 'vfio-devices', all driven by vfio-pci: two alone in
 * their groups, two that share one. As the real kernel numbers them: groups in order of PCI addresses,
 * /dev/vfio/devices/vfioX in this order.
 */
export const pciDevices = [
  { address: '0000:00:10.0', group: 4 },
  { address: '0000:00:11.0', group: 5 },
  { address: '0000:00:12.0', group: 6 },
  { address: '0000:00:12.1', group: 6 },
] as const

/** The descriptor number of a slot. */
export const slotFd = (slot: number): number => 100 + slot
