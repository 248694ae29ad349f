/** IOMMU_IOAS_ALLOC (01 §9). */
import { hex } from '../abi/brands.ts'
import { IOMMU_IOAS_ALLOC } from '../abi/iommufd/ioas.ts'
import { command } from './command.ts'
import { Ioas } from './ioas.ts'
import { Refusal, reasonKind, refuse } from './reason.ts'

export const UnknownFlags = reasonKind<{ command: string; flags: number }>({
  code: 'unknown-flags',
  errno: 'EOPNOTSUPP',
  cite: '01 §9',
  say: ({ command: name, flags }) => `${name} knows no flags; flags is ${hex(flags)}`,
  advice: 'Set flags to 0.',
})

export const ioasAlloc = command(IOMMU_IOAS_ALLOC, ({ context, call, args, respond }) => {
  if (args.flags !== 0)
    return refuse(UnknownFlags, { command: 'IOMMU_IOAS_ALLOC', flags: args.flags })
  const id = context.objects.reserve(call)
  if (id instanceof Refusal) return id
  const written = respond({ out_ioas_id: id })
  if (written instanceof Refusal) {
    context.objects.abort(id)
    return written
  }
  context.objects.publish(new Ioas(context, id))
})
