/** VF tokens (06 §9.1): no simulated function has to do with SR-IOV, so that none takes one. */
import { type Result, reasonKind, refuse } from '../../engine/reason.ts'

export const TokenNotWanted = reasonKind<{ device: string }>({
  code: 'token-not-wanted',
  errno: 'EINVAL',
  cite: '06 §9.1',
  say: ({ device }) =>
    `${device} is neither an SR-IOV function nor one of its virtual functions, and takes no token`,
  advice: 'Leave the token out for this device.',
})

export const refuseToken = (bdf: string, token: Uint8Array | undefined): Result<void> => {
  if (token !== undefined) return refuse(TokenNotWanted, { device: bdf })
}
