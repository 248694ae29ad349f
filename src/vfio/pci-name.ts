/**
 * How vfio-pci reads the name that VFIO_GROUP_GET_DEVICE_FD is given (02 §4.6 step 2): the PCI address,
 * optionally followed by blanks and `vf_token=UUID`.
 */
import { type Result, reasonKind, refuse } from '../engine/reason.ts'

export const PciNameUnknownOption = reasonKind<{ option: string }>({
  code: 'pci-name-unknown-option',
  errno: 'EINVAL',
  cite: '02 §4.6 step 2',
  say: ({ option }) => `"${option}" behind the PCI address is not vf_token=UUID`,
  advice: 'Pass the PCI address alone, or with vf_token=UUID behind a blank.',
})

export const PciNameTokenTwice = reasonKind({
  code: 'pci-name-token-twice',
  errno: 'EINVAL',
  cite: '02 §4.6 step 2',
  say: () => 'vf_token is given twice',
  advice: 'Pass one vf_token.',
})

export const PciNameBadToken = reasonKind<{ token: string }>({
  code: 'pci-name-bad-token',
  errno: 'EINVAL',
  cite: '02 §4.6 step 2',
  say: ({ token }) => `the vf_token "${token}" is no UUID`,
  advice: 'Write the token as uuidgen prints it.',
})

const OPTION = 'vf_token='
const UUID_LENGTH = 36
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** What a name asks for, if it names the device; `token` has 16 bytes. */
export interface PciNameMatch {
  readonly token: Uint8Array | undefined
}

/** Undefined: it names another device. */
export const matchPciName = (
  address: string,
  requested: string,
): Result<PciNameMatch | undefined> => {
  if (!requested.startsWith(address)) return undefined
  const rest = requested.slice(address.length)
  if (rest !== '' && !rest.startsWith(' ')) return undefined
  let token: Uint8Array | undefined
  for (const option of rest.split(' ').filter((word) => word !== '')) {
    if (!option.startsWith(OPTION)) return refuse(PciNameUnknownOption, { option })
    if (token !== undefined) return refuse(PciNameTokenTwice, {})
    const text = option.slice(OPTION.length, OPTION.length + UUID_LENGTH)
    if (!UUID.test(text)) return refuse(PciNameBadToken, { token: option.slice(OPTION.length) })
    token = Uint8Array.from(text.replaceAll('-', '').match(/../g) ?? [], (byte) =>
      Number.parseInt(byte, 16),
    )
  }
  return { token }
}
