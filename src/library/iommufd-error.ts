import { errnoName } from '../abi/errno.ts'
import type { Refusal } from '../engine/reason.ts'

/**
 * A call that Linux answers with an errno. The message is the whole sentence; `reason` is the same as
 * data.
 */
export class IommufdError extends Error {
  override readonly name = 'IommufdError'
  /** The positive errno value: 17. */
  readonly errno: number
  /** Its name: `EEXIST`. */
  readonly code: string
  /**
   * Which check refused: `reason.code` is stable (docs/errors.md describes it), `reason.fields` has the
   * values, `reason.say()` the clause, `reason.kind.advice` what to do.
   */
  readonly reason: Refusal

  constructor(call: string, reason: Refusal) {
    const { advice } = reason.kind
    super(
      `${call} failed with ${errnoName(reason.errno)}: ${reason.say()}.${advice === undefined ? '' : ` ${advice}`}`,
    )
    this.errno = reason.errno
    this.code = errnoName(reason.errno)
    this.reason = reason
  }
}
