/** What IOMMU_IOAS_MAP_FILE needs of a dma-buf (01 §13.2). */
import type { ByteLength } from '../abi/brands.ts'
import type { OpenFile } from './file.ts'
import type { PageRun } from './ports.ts'
import type { Result } from './reason.ts'

/** An open file that is a dma-buf: its memory is MMIO, mapped but never pinned or charged. */
export interface DmaBuf extends OpenFile {
  readonly dmaBuf: true
  readonly length: ByteLength
  /**
   * Attaches for good or refuses: ENODEV while revoked, EOPNOTSUPP for a dma-buf of another kind. The
   * file stays open until `detach`. `revoked` is called when every mapping made so far dies.
   */
  attach(listener: { revoked(): void }): Result<DmaBufAttachment>
}

export interface DmaBufAttachment {
  /** The pages of the dma-buf, from its start. Their physical addresses are consecutive as the object's contiguity says. */
  readonly pages: PageRun
  detach(): void
}

export const isDmaBuf = (file: object): file is DmaBuf => 'dmaBuf' in file && file.dmaBuf === true
