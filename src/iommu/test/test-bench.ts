/** State of the test interface that outlives calls: one per machine (05 §A.2). */
import { MockIommu, type MockIommuOptions } from '../mock/mock-iommu.ts'

/** Linux works with this much temporary memory while pinning, unless told otherwise. */
const DEFAULT_TEMP_MEMORY = 65536

export class TestBench {
  readonly iommu: MockIommu
  /** Stored and without effect here: nothing is done in batches (05 §A.7 op 9). */
  tempMemoryLimit = DEFAULT_TEMP_MEMORY

  constructor(options: MockIommuOptions = {}) {
    this.iommu = new MockIommu(options)
  }
}
