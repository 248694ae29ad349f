/** Names of calls and constants as far as they tell them apart. */
import { hex } from '../../abi/brands.ts'
import type { Constants } from '../../abi/fields.ts'

/** `IOMMU_IOAS_MAP` is `IOAS_MAP`, `VFIO_IOMMU_MAP_DMA` is `MAP_DMA`. */
export const shortName = (name: string): string =>
  name.replace(/^(VFIO_IOMMU_|VFIO_DEVICE_(?=BIND|ATTACH|DETACH)|VFIO_|IOMMU_)/, '')

/** The part of a constant's name that tells it from its siblings: `FIXED_IOVA`. */
export const shortConstant = (constants: Constants, name: string): string => {
  const names = Object.keys(constants)
  if (names.length < 2) return name.replace(/^.*?_FLAGS?_|^(IOMMU|VFIO)_/, '')
  let prefix = names.reduce((common, each) => {
    let length = 0
    while (length < common.length && common[length] === each[length]) length++
    return common.slice(0, length)
  })
  prefix = prefix.slice(0, prefix.lastIndexOf('_') + 1)
  return name.slice(prefix.length)
}

/** `FIXED_IOVA|READABLE`; bits without a name in hex. */
export const shortFlags = (constants: Constants, value: number): string => {
  const names: string[] = []
  let left = value
  for (const [name, bit] of Object.entries(constants))
    if (bit !== 0 && (left & bit) === bit) {
      names.push(shortConstant(constants, name))
      left &= ~bit
    }
  if (left !== 0 || names.length === 0) names.push(hex(left >>> 0))
  return names.join('|')
}
