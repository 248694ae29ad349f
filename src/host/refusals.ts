/** Why a machine refuses the filter, in sentences: for `run` when it cannot start, and for `check`. */

export interface Advice {
  readonly says: string
  readonly advice: string
}

const EPERM = 1
const EBUSY = 16
const EINVAL = 22
const ENOSYS = 38

export const listenerRefused = (errno: number): Advice => {
  switch (errno) {
    case EBUSY:
      return {
        says: 'Another supervisor listens to this process already (seccomp user notification); a process can have only one.',
        advice:
          'Do not start it from within another run, nor in a sandbox that uses the same mechanism.',
      }
    case EINVAL:
      return {
        says: 'The kernel does not know seccomp user notification.',
        advice:
          'Use Linux 5.14 or newer. Under gVisor, use another runtime: docker run --runtime=runc.',
      }
    case EPERM:
    case ENOSYS:
      return {
        says: "The container's seccomp profile, or the sandbox, refuses the seccomp system call.",
        advice: 'docker run --security-opt seccomp=unconfined, or allow seccomp in the profile.',
      }
    default:
      return {
        says: `The kernel refuses a seccomp filter with a listener (errno ${errno}).`,
        advice: 'Look for a security module or a sandbox that forbids it.',
      }
  }
}
