/**
 * How FAULT_QUEUE_ALLOC and VEVENTQ_ALLOC end (04 §4.1, §7.2): a descriptor and a copy-out, either of
 * which may fail and undoes everything.
 */
import type { Fd } from '../abi/brands.ts'
import type { EventFile } from './event-file.ts'
import type { KernelObject } from './objects.ts'
import type { Call } from './ports.ts'
import { Refusal, type Result } from './reason.ts'

/**
 * Gives the caller a descriptor of the file and publishes its object. A descriptor is visible at once,
 * so that the copy-out is tried before, with `probe`; `respond` then cannot fail any more.
 */
export const publishWithFile = (
  call: Call,
  object: KernelObject,
  file: EventFile,
  probe: () => Result<void>,
  respond: (fd: Fd) => Result<void>,
): Result<void> => {
  const writable = probe()
  const fd = writable instanceof Refusal ? writable : call.install(file, { closeOnExec: true })
  if (fd instanceof Refusal) {
    file.release()
    object.context.objects.abort(object.id)
    object.teardown('undo')
    return fd
  }
  object.context.objects.publish(object)
  return respond(fd)
}
