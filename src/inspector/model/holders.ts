/** Who counts as a user of whom (01 §5.3): why an object cannot be destroyed, and what keeps it alive. */
import type { ObjectId } from '../../abi/brands.ts'
import { list } from '../../watch/english.ts'
import type { ContextState, ObjectState } from './moment.ts'

export interface Hold {
  readonly by: ObjectState
  readonly on: ObjectId
  /** How: it was made upon it, or is attached to it. */
  readonly how: 'made-on' | 'attached'
  readonly label: string
}

/** Every hold in a context, by holder in order of ID. */
export const holdsIn = (context: ContextState): readonly Hold[] =>
  [...context.objects.values()].flatMap((object) => [
    ...object.holds.map((on): Hold => ({ by: object, on, how: 'made-on', label: '' })),
    ...object.attachments.map(
      ({ to, pasid }): Hold => ({
        by: object,
        on: to,
        how: 'attached',
        label: pasid === undefined ? '' : `PASID ${pasid}`,
      }),
    ),
  ])

export const objectName = ({ type, id, name }: ObjectState): string =>
  `${type} ${id}${name === undefined ? '' : ` (${name})`}`

/** Why IOMMU_DESTROY of an object would answer EBUSY, as far as events tell; in one sentence. */
export const whyBusy = (context: ContextState, object: ObjectState): string => {
  const holders = holdsIn(context).filter(({ on }) => on === object.id)
  if (object.type === 'device' || object.type === 'access')
    return `It belongs to the driver that bound it, and goes only with it: close the device${
      object.attachments.length > 0 ? ', which also detaches it' : ''
    }.`
  if (holders.length === 0) return 'Nothing uses it: IOMMU_DESTROY would succeed.'
  const users = holders.map(
    ({ by, how, label }) =>
      `${objectName(by)} ${how === 'attached' ? `is attached to it${label === '' ? '' : ` with ${label}`}` : 'was made on it'}`,
  )
  return `IOMMU_DESTROY would fail with EBUSY: ${list(users)}. ${howToFree(holders)}`
}

const howToFree = (holders: readonly Hold[]): string => {
  const devices = holders.filter(({ how }) => how === 'attached').map(({ by }) => objectName(by))
  const made = holders.filter(({ how }) => how === 'made-on').map(({ by }) => objectName(by))
  return [
    ...(devices.length > 0 ? [`Detach or close ${list(devices)}.`] : []),
    ...(made.length > 0 ? [`Destroy ${list(made)} first.`] : []),
  ].join(' ')
}
