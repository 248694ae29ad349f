/** The PCI side of the controller (06 §14.1). */
import type { MsixTable, PciIdentity } from '../../vfio/pci/pci-model.ts'
import { MSIX_PENDING, MSIX_TABLE, VECTORS } from './registers.ts'

const bytes = (...parts: readonly (readonly [value: number, size: number])[]): number[] =>
  parts.flatMap(([value, size]) =>
    Array.from({ length: size }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff),
  )

/** Version 2, an endpoint, one function; device capabilities: role-based errors, function-level reset. */
const express = bytes(
  [0x0002, 2],
  [0x1000_8000, 4],
  [0, 2],
  [0, 2],
  // Link: 8 GT/s, four lanes; what it can and what it does.
  [0x0000_0043, 4],
  [0, 2],
  [0x0043, 2],
  // Slot and root registers are not there; device and link capabilities 2.
  ...Array.from({ length: 8 }, () => [0, 4] as const),
)

export const nvmeIdentity: PciIdentity = {
  vendor: 0x1b36,
  device: 0x0010,
  revision: 0x02,
  classCode: 0x010802,
  subsystemVendor: 0x1af4,
  subsystemDevice: 0x1100,
  interruptPin: 1,
  configSize: 4096,
  capabilities: [
    { id: 0x10, offset: 0x40, body: express },
    {
      id: 0x11,
      offset: 0x80,
      body: bytes([VECTORS - 1, 2], [MSIX_TABLE, 4], [MSIX_PENDING, 4]),
    },
    // Power management version 3; D0 without soft reset.
    { id: 0x01, offset: 0x90, body: bytes([0x0003, 2], [0x0008, 2]) },
  ],
}

export const nvmeMsix: MsixTable = {
  vectors: VECTORS,
  tableBar: 0,
  tableOffset: MSIX_TABLE,
  pbaBar: 0,
  pbaOffset: MSIX_PENDING,
}
