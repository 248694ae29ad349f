/** One event further: the moment after it. */
import type { ObjectId } from '../../abi/brands.ts'
import type { EngineEvent } from '../../engine/events.ts'
import { foldAreas, foldDirtyRead, foldDma, foldPins } from './fold-ioas.ts'
import { withGivenUp } from './given-up.ts'
import {
  type Attachment,
  type ContextState,
  type IoasState,
  type Moment,
  newContext,
  newIoas,
  type ObjectState,
} from './moment.ts'

type EventOf<Type extends EngineEvent['type']> = EngineEvent & { readonly type: Type }

/**
 * Events that do not fit what is known (a recording that began late) change nothing, and so do those
 * that change no state.
 */
export const fold = (moment: Moment, event: EngineEvent): Moment => {
  switch (event.type) {
    case 'context-opened':
      return withContext(
        moment,
        newContext(event.context, { node: event.node, pid: event.pid, opened: event.call }),
      )
    case 'context-released':
      return { ...moment, contexts: moment.contexts.without(event.context) }
    case 'area-mapped': {
      const mappings = moment.mappings + 1
      const mapped = changeIoas(moment, event.context, event.ioas, (ioas, context) =>
        foldAreas(ioas, event, { context, number: mappings }),
      )
      return { ...mapped, mappings }
    }
    case 'area-unmapped':
    case 'area-split':
      return changeIoas(moment, event.context, event.ioas, (ioas, context) =>
        foldAreas(ioas, event, { context, number: moment.mappings }),
      )
    case 'ioas-rules':
      return changeIoas(moment, event.context, event.ioas, (ioas) => ({
        ...ioas,
        alignment: event.alignment,
        largePages: event.largePages,
        usable: event.usable,
        allowed: event.allowed,
      }))
    case 'access-pinned':
    case 'access-unpinned':
      return changeIoas(moment, event.context, event.ioas, (ioas) => foldPins(ioas, event))
    case 'dma':
    case 'dma-fault':
      return changeIoas(moment, event.context, event.ioas, (ioas, context) =>
        foldDma(ioas, event, isTracking(context, ioas.id)),
      )
    case 'memory-replaced':
      return { ...moment, givenUp: withGivenUp(moment.givenUp, event) }
    case 'dirty-read': {
      const ioas = ioasOf(moment.contexts.get(event.context), event.hwpt)
      return changeIoas(moment, event.context, ioas, (of) => foldDirtyRead(of, event))
    }
    default:
      return foldObjects(moment, event)
  }
}

/** Objects, and what they are attached to. */
const foldObjects = (moment: Moment, event: EngineEvent): Moment => {
  switch (event.type) {
    case 'object-created':
      return changeContext(moment, event.context, (context) => created(context, event))
    case 'object-destroyed':
      return changeContext(moment, event.context, (context) => ({
        ...context,
        objects: context.objects.without(event.id),
        ioases: context.ioases.without(event.id),
      }))
    case 'device-bound':
      return changeObject(moment, event.context, event.object, (object) => ({
        ...object,
        name: event.device,
        group: event.group,
      }))
    case 'attached':
      return changeObject(moment, event.context, event.object, (object) => attached(object, event))
    case 'detached':
      return changeObject(moment, event.context, event.object, (object) =>
        event.hwpt === undefined
          ? object
          : {
              ...object,
              attachments: object.attachments.filter(({ pasid }) => pasid !== event.pasid),
            },
      )
    case 'access-attached':
      return changeObject(moment, event.context, event.access, (object) => ({
        ...object,
        name: object.name ?? event.name,
        attachments: [{ to: event.ioas, call: event.call, throughContainer: false }],
      }))
    case 'access-detached':
      return changeObject(moment, event.context, event.access, (object) => ({
        ...object,
        attachments: [],
      }))
    case 'dirty-tracking':
      return changeObject(moment, event.context, event.hwpt, (object) => ({
        ...object,
        tracking: event.enabled,
      }))
    case 'compat-ioas':
      return changeContext(moment, event.context, (context) => ({
        ...context,
        compatIoas: event.ioas,
        compatCall: event.call,
      }))
    default:
      return moment
  }
}

const created = (context: ContextState, event: EventOf<'object-created'>): ContextState => {
  const object: ObjectState = {
    id: event.id,
    type: event.object,
    created: event.call,
    holds: event.holds,
    attachments: [],
  }
  return {
    ...context,
    objects: context.objects.with(event.id, object),
    ioases:
      event.object === 'ioas' ? context.ioases.with(event.id, newIoas(event.id)) : context.ioases,
  }
}

const attached = (object: ObjectState, event: EventOf<'attached'>): ObjectState => {
  // An emulated device translates by its access, which says itself where it is attached.
  if (event.hwpt === undefined)
    return {
      ...object,
      name: event.device,
      attachments: object.attachments.map((attachment) => ({
        ...attachment,
        throughContainer: event.throughContainer,
      })),
    }
  const attachment: Attachment = {
    to: event.hwpt,
    pasid: event.pasid,
    call: event.call,
    throughContainer: event.throughContainer,
  }
  return {
    ...object,
    attachments: [...object.attachments.filter(({ pasid }) => pasid !== event.pasid), attachment],
  }
}

/** The IOAS that an HWPT translates for, through its parents where it is nested. */
export const ioasOf = (context: ContextState | undefined, hwpt: ObjectId): ObjectId | undefined => {
  let object = context?.objects.get(hwpt)
  for (let depth = 0; object !== undefined && depth < 4; depth++) {
    if (object.type === 'ioas') return object.id
    const [below] = object.holds
    object = below === undefined ? undefined : context?.objects.get(below)
  }
  return undefined
}

const isTracking = (context: ContextState, ioas: ObjectId): boolean => {
  for (const object of context.objects.values())
    if (object.tracking === true && ioasOf(context, object.id) === ioas) return true
  return false
}

const withContext = (moment: Moment, context: ContextState): Moment => ({
  ...moment,
  contexts: moment.contexts.with(context.number, context),
})

const changeContext = (
  moment: Moment,
  number: number,
  change: (context: ContextState) => ContextState,
): Moment => {
  const context = moment.contexts.get(number)
  return context === undefined ? moment : withContext(moment, change(context))
}

const changeObject = (
  moment: Moment,
  number: number,
  id: ObjectId,
  change: (object: ObjectState) => ObjectState,
): Moment =>
  changeContext(moment, number, (context) => {
    const object = context.objects.get(id)
    return object === undefined
      ? context
      : { ...context, objects: context.objects.with(id, change(object)) }
  })

const changeIoas = (
  moment: Moment,
  number: number,
  id: ObjectId | undefined,
  change: (ioas: IoasState, context: ContextState) => IoasState,
): Moment =>
  changeContext(moment, number, (context) => {
    const ioas = id === undefined ? undefined : context.ioases.get(id)
    return ioas === undefined
      ? context
      : { ...context, ioases: context.ioases.with(ioas.id, change(ioas, context)) }
  })
