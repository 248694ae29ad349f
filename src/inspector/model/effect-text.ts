/** What an event changed, as a sentence; undefined for calls themselves. */
import { hex } from '../../abi/brands.ts'
import type { EngineEvent } from '../../engine/events.ts'
import { list } from '../../watch/english.ts'
import { byteCount } from './call-text.ts'

const at = ({ iova, length }: { iova: bigint; length: bigint }): string =>
  `${hex(iova)} (${byteCount(length)})`

const pasidText = (pasid: number | undefined): string =>
  pasid === undefined ? '' : ` with PASID ${pasid}`

export const effectText = (event: EngineEvent): string | undefined => {
  switch (event.type) {
    case 'call':
      return undefined
    case 'context-opened':
      return `Context ${event.context} was opened through ${event.node}.`
    case 'context-released':
      return `Context ${event.context} was released, with everything in it.`
    case 'object-created':
      return `${event.object} ${event.id} was made.`
    case 'object-destroyed':
      return `${event.object} ${event.id} is gone (${event.by}).`
    case 'area-mapped':
      return `IOAS ${event.ioas} maps ${at(event)} to ${event.source}.`
    case 'area-unmapped':
      return `IOAS ${event.ioas} no longer maps ${at(event)}.`
    case 'area-split':
      return `IOAS ${event.ioas}: an area was cut behind ${hex(event.after)}.`
    case 'ioas-rules':
      return `IOAS ${event.ioas} can be mapped in ${
        event.usable.length === 1 ? 'one range' : `${event.usable.length} ranges`
      }, aligned to ${hex(event.alignment)}.`
    case 'memory-charged':
      return `${event.pages} pages were charged to process ${event.pid}: ${event.charged} of ${event.limit} now.`
    case 'memory-replaced':
      return `Process ${event.pid} gave up its memory at ${hex(event.start)} (${byteCount(event.end - event.start)}, ${event.by}).`
    case 'device-failed':
      return `The model of ${event.device} made a mistake: ${event.message.split('\n')[0]}.`
    case 'process-changed':
      return `Process ${event.pid} owns the mappings of context ${event.context} now.`
    case 'access-attached':
      return `The access ${event.access} of ${event.name} is attached to IOAS ${event.ioas}.`
    case 'access-detached':
      return `The access ${event.access} of ${event.name} left IOAS ${event.ioas}.`
    case 'access-pinned':
      return `Access ${event.access} pinned ${at(event)} of IOAS ${event.ioas}.`
    case 'access-unpinned':
      return `Access ${event.access} unpinned ${at(event)} of IOAS ${event.ioas}.`
    case 'compat-ioas':
      return event.ioas === undefined
        ? `There is no compat IOAS any more (${event.by}).`
        : `The compat IOAS is IOAS ${event.ioas} now (${event.by}).`
    case 'device-bound':
      return `${event.device} of group ${event.group} is bound as device ${event.object}.`
    case 'device-unbound':
      return `${event.device} is bound no more.`
    case 'attached':
      return `${event.device}${pasidText(event.pasid)} translates through ${
        event.hwpt === undefined ? '' : `HWPT ${event.hwpt} of `
      }IOAS ${event.ioas}.`
    case 'detached':
      return `${event.device}${pasidText(event.pasid)} was detached from IOAS ${event.ioas}.`
    case 'reservations-lost':
      return `IOAS ${event.ioas} lost the reservations that ${list(event.devices)} need.`
    case 'dirty-tracking':
      return `HWPT ${event.hwpt} ${event.enabled ? 'tracks' : 'no longer tracks'} dirty pages.`
    case 'dirty-read':
      return `${byteCount(event.dirty)} of ${at(event)} were dirty${event.cleared ? ', and are clean now' : ''}.`
    case 'dma':
      return `${event.device} ${event.write ? 'wrote' : 'read'} ${at(event)} by DMA.`
    case 'dma-fault':
      return `DMA of ${event.device}${pasidText(event.pasid)}: ${event.write ? 'writing' : 'reading'} ${hex(event.iova)} was stopped (${event.fault}).`
    case 'page-fault':
      return `${event.device} asked for the page at ${hex(event.address)} (${event.outcome}).`
    case 'page-response':
      return `The page request group ${event.grpid} of ${event.device} was answered: ${
        event.code === 0 ? 'success' : 'invalid'
      }${event.by === 'cancelled' ? ', because nobody else would' : ''}.`
    case 'invalidated':
      return `${event.handled} of ${event.requests} invalidations of object ${event.object} were done.`
    case 'virtual-event':
      return `vIOMMU ${event.viommu} ${event.lost ? 'lost' : 'queued'} event ${event.sequence}.`
    case 'container-split':
      return `One container now spans several IOASes: ${list(
        event.devices.map(({ device, ioas }) => `${device} is on IOAS ${ioas}`),
      )}.`
    default:
      // An event of a later version, from a recording.
      return String((event as { readonly type: unknown }).type)
  }
}
