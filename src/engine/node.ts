/** The device nodes of a machine: what host/ shows under /dev, and what opening one gives. */
import type { OpenFile, OpenMode } from './file.ts'
import type { Process } from './ports.ts'
import type { Result } from './reason.ts'

/** A character device node. */
export interface DeviceNode {
  /** `/dev/iommu`, `/dev/vfio/7`, `/dev/vfio/devices/vfio0`. */
  readonly path: string
  /**
   * `misc` is major 10; `vfio` and `vfio-dev` are majors that Linux chooses when it starts. Without a
   * minor it is chosen then, too (01 §2, 02 §1.1).
   */
  readonly major: 'misc' | 'vfio' | 'vfio-dev'
  readonly minor?: number
  /** Permission bits as devtmpfs gives them. */
  readonly permissions: number
  open(process: Process, mode: OpenMode): Result<OpenFile>
}
