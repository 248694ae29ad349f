/** The commands that cases name, from the declarations in src/abi. */
import type { Fields, Struct } from '../src/abi/layout.ts'
import { ioctlNamed } from '../src/abi/tables.ts'

export interface Command {
  readonly name: string
  readonly request: number
  readonly struct: Struct<Fields>
}

/** `IOAS_ALLOC` or, in full, `IOMMU_IOAS_ALLOC` or `VFIO_IOMMU_MAP_DMA`. */
export const command = (name: string): Command => {
  const ioctl = name.startsWith('VFIO_IOMMU_') ? ioctlNamed(name) : ioctlNamed(`IOMMU_${name}`)
  if (ioctl?.struct === undefined) throw new Error(`${name} is no command with a structure`)
  return { name, request: ioctl.request, struct: ioctl.struct }
}
