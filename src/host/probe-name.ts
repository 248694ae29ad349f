/** What probe-main.ts tries. */
export type ProbeName =
  | 'ffi'
  | 'eventfd'
  | 'memfd'
  | 'inotify'
  | 'process-vm'
  | 'proc-mem'
  | 'notifications'
  | 'no-new-privs'
  | 'listener'
