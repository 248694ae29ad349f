/** IOMMU_DESTROY (01 §5.4). */
import { IOMMU_DESTROY } from '../abi/iommufd/context.ts'
import { command } from './command.ts'
import { NoSuchObject } from './objects.ts'
import { refuse } from './reason.ts'

export const destroy = command(IOMMU_DESTROY, ({ context, args }) => {
  const object = context.objects.peek(args.id)
  if (object === undefined)
    return refuse(NoSuchObject, { id: args.id, wanted: 'object', found: undefined })
  return context.objects.removeUnused(object, 'destroy')
})
