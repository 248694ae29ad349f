/** How GET_DEVICE_FD names a PCI device, and VF tokens (06 §2.2, §9.1). */
import { type Result, reasonKind, refuse } from '../../engine/reason.ts'

export const OpenOptionUnknown = reasonKind<{ device: string; option: string }>({
  code: 'open-option-unknown',
  errno: 'EINVAL',
  cite: '06 §2.2',
  say: ({ device, option }) => `'${option}' is no option for opening ${device}`,
  advice: 'Only vf_token=UUID may follow the address.',
})
export const TokenNotWanted = reasonKind<{ device: string }>({
  code: 'token-not-wanted',
  errno: 'EINVAL',
  cite: '06 §9.1',
  say: ({ device }) =>
    `${device} is neither an SR-IOV function nor one of its virtual functions, and takes no token`,
})

const TOKEN = 'vf_token='
const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}/

/** The address, then nothing or options after a space. */
export const matchRequest = (bdf: string, requested: string): Result<boolean> => {
  if (!requested.startsWith(bdf)) return false
  const rest = requested.slice(bdf.length)
  if (rest !== '' && !rest.startsWith(' ')) return false
  const options = rest.split(' ').filter((option) => option !== '')
  for (const [i, option] of options.entries())
    if (i > 0 || !option.startsWith(TOKEN) || !UUID.test(option.slice(TOKEN.length)))
      return refuse(OpenOptionUnknown, { device: bdf, option })
  // No simulated function has to do with SR-IOV.
  if (options.length > 0) return refuse(TokenNotWanted, { device: bdf })
  return true
}

export const refuseToken = (bdf: string, token: Uint8Array | undefined): Result<void> => {
  if (token !== undefined) return refuse(TokenNotWanted, { device: bdf })
}
