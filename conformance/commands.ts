/** The commands that cases name, from the declarations in src/abi. */
import type { Fields, Struct } from '../src/abi/layout.ts'
import { ioctlNamed } from '../src/abi/tables.ts'
import { IOMMU_TEST_CMD, testOperations } from '../src/abi/test-cmd.ts'

export interface Command {
  readonly name: string
  readonly request: number
  readonly struct: Struct<Fields>
  /** Operation of the test interface. */
  readonly op?: number
}

/**
 * `IOAS_ALLOC` for `IOMMU_IOAS_ALLOC`, `VFIO_IOMMU_MAP_DMA`, or `TEST_MOCK_DOMAIN` for that operation of
 * IOMMU_TEST_CMD.
 */
export const command = (name: string): Command => {
  const operation = testOperations.find((known) => known.name === `IOMMU_TEST_OP_${name.slice(5)}`)
  if (name.startsWith('TEST_') && operation !== undefined)
    return { name, request: IOMMU_TEST_CMD.request, struct: operation.struct, op: operation.op }
  const ioctl = ioctlNamed(`IOMMU_${name}`) ?? ioctlNamed(name)
  if (ioctl?.struct === undefined) throw new Error(`${name} is no command with a structure`)
  return { name, request: ioctl.request, struct: ioctl.struct }
}
