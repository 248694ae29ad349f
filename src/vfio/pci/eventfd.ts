/** Eventfds that a client gives to a device (06 §6.2): the device keeps the object, not the descriptor. */
import { type Fd, fd } from '../../abi/brands.ts'
import type { Call, HeldEventfd } from '../../engine/ports.ts'
import { type Result, reasonKind, refuse } from '../../engine/reason.ts'

export const EventfdNotOpen = reasonKind<{ fd: Fd }>({
  code: 'eventfd-not-open',
  errno: 'EBADF',
  cite: '06 §6.2',
  say: ({ fd }) => `descriptor ${fd} is not open`,
  advice: 'Pass an open eventfd, or -1 for none.',
})

export const NotAnEventfd = reasonKind<{ fd: Fd; name: string }>({
  code: 'not-an-eventfd',
  errno: 'EINVAL',
  cite: '06 §6.2',
  say: ({ fd, name }) => `descriptor ${fd} is ${name}, not an eventfd`,
  advice: 'Pass a descriptor from eventfd(2).',
})

export const EventfdOutOfReach = reasonKind<{ fd: Fd }>({
  code: 'eventfd-out-of-reach',
  errno: 'EINVAL',
  cite: '06 §6.2',
  say: ({ fd }) =>
    `descriptor ${fd} is an eventfd that the program did not make itself, and this machine does not let it be taken (pidfd_getfd is refused)`,
  advice:
    'Make the eventfd in a program under simulation, or give the container CAP_SYS_PTRACE or another seccomp profile.',
})

const EVENTFD = 'anon_inode:[eventfd]'

/** The eventfd behind a descriptor of the caller, held until `close`. */
export const holdEventfd = (call: Call, number: number): Result<HeldEventfd> => {
  const file = call.file(fd(number))
  if (file === undefined) return refuse(EventfdNotOpen, { fd: fd(number) })
  if (!('foreign' in file)) return refuse(NotAnEventfd, { fd: fd(number), name: file.linkText })
  const held = file.eventfd?.()
  if (held !== undefined) return held
  return file.name === EVENTFD
    ? refuse(EventfdOutOfReach, { fd: fd(number) })
    : refuse(NotAnEventfd, { fd: fd(number), name: file.name })
}
