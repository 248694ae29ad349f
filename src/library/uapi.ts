/** The uAPI's declarations, by their uAPI names, for `Iommufd.call`. */
export * from '../abi/iommufd/context.ts'
export * from '../abi/iommufd/ioas.ts'
export * from '../abi/vfio/container.ts'
