/** Draws address spaces on a canvas: a ruler, and for each IOAS what is mapped, reserved, pinned, hot. */
import type { ObjectId } from '../../abi/brands.ts'
import type { CallNumber } from '../../engine/events.ts'
import { byteCount } from '../model/call-text.ts'
import {
  type Block,
  bands,
  type Frame,
  type Haze,
  type Layer,
  layer,
  reservedRanges,
  ticks,
} from '../model/map-picture.ts'
import { fractionOf, type MapView } from '../model/map-view.ts'
import type { AreaState, IoasState, PinState } from '../model/moment.ts'
import { meeting, type Range } from '../model/range-set.ts'

export interface MapScene {
  readonly spaces: readonly IoasState[]
  readonly view: MapView
  /** The call that is looked at: what it mapped stands out. */
  readonly call: CallNumber | undefined
  readonly mark: bigint | undefined
  /** Is its memory gone from the process that mapped it? */
  readonly isGone: (area: AreaState) => boolean
  /** What the call that is looked at was refused for, in the IOAS that it named. */
  readonly refused: { readonly ioas: ObjectId | undefined; readonly ranges: readonly Range[] }
}

/** Where things are on the screen, for the pointer; and how much was drawn. */
export interface DrawnMap {
  readonly columns: readonly Column[]
  /** Primitives; bounded by the size of the picture. */
  readonly drawn: number
}

interface Column {
  readonly ioas: IoasState
  readonly left: number
  readonly right: number
  readonly areas: Layer<AreaState>
}

const RULER = 136
/** Between two columns, for what links copies. */
const GAP = 56
const HEAT = 8
const STRIPE = 7
/** So few things in one place are looked at one by one, for what is wrong with them. */
const FEW = 8
const MONO = '11px ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, monospace'

/** Of the pins at one address, the longest. */
const rangeOfPins = (pins: readonly PinState[]): Range => {
  let longest: Range = { start: 0n, last: 0n }
  for (const pin of pins) if (pin.last >= longest.last) longest = pin
  return longest
}
const hasGone = ({ ioas }: Column, { count, range }: Haze, { isGone }: MapScene): boolean =>
  count <= FEW && [...meeting(ioas.areas, range)].some(isGone)

const itself = <R extends Range>(range: R): R => range

export class MapCanvas {
  readonly #context: CanvasRenderingContext2D
  readonly #colours = new Map<string, string>()
  #drawn = 0
  #width = 0
  #height = 0

  constructor(context: CanvasRenderingContext2D) {
    this.#context = context
  }

  /** Another theme: colours are read anew. */
  forgetColours(): void {
    this.#colours.clear()
  }

  draw(width: number, height: number, scene: MapScene): DrawnMap {
    const context = this.#context
    const { canvas } = context
    const ratio = devicePixelRatio || 1
    if (
      canvas.width !== Math.round(width * ratio) ||
      canvas.height !== Math.round(height * ratio)
    ) {
      canvas.width = Math.round(width * ratio)
      canvas.height = Math.round(height * ratio)
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    this.#width = width
    this.#height = height
    this.#drawn = 0
    this.#rectangle('--panel', 0, 0, width, height)
    const frame: Frame = { view: scene.view, height }
    this.#ruler(frame)
    const columns = this.#columns(frame, scene.spaces)
    for (const column of columns) this.#column(frame, column, scene)
    const [left, right] = columns
    if (left !== undefined && right !== undefined) {
      this.#links(left, right)
      for (const column of columns) this.#heading(column)
    }
    this.#mark(frame, scene.mark)
    return { columns, drawn: this.#drawn }
  }

  #columns(frame: Frame, spaces: readonly IoasState[]): Column[] {
    const narrow = this.#width < 520
    const gap = narrow ? 24 : GAP
    const room = this.#width - RULER - 8 - gap * (spaces.length - 1)
    const each = Math.max(40, room / Math.max(1, spaces.length))
    return spaces.map((ioas, index) => {
      const left = RULER + index * (each + gap)
      return { ioas, left, right: left + each, areas: layer(frame, ioas.areas, itself) }
    })
  }

  #ruler(frame: Frame): void {
    const context = this.#context
    context.font = MONO
    context.textBaseline = 'middle'
    context.textAlign = 'right'
    for (const { at, y } of ticks(frame, 40)) {
      this.#rectangle('--line', RULER - 6, y, this.#width - RULER + 6, 1)
      const digits = at.toString(16).padStart(16, '0')
      const zeros = /^0*/.exec(digits.slice(0, -1))?.[0].length ?? 0
      const textY = Math.max(7, Math.min(this.#height - 7, y))
      context.fillStyle = this.#colour('--text')
      context.fillText(digits.slice(zeros), RULER - 10, textY)
      const significant = context.measureText(digits.slice(zeros)).width
      context.fillStyle = this.#colour('--faint')
      context.fillText(`0x${digits.slice(0, zeros)}`, RULER - 10 - significant, textY)
      this.#drawn += 2
    }
  }

  #column(frame: Frame, column: Column, scene: MapScene): void {
    const { ioas, left, right, areas } = column
    const { refused } = scene
    const context = this.#context
    for (const { top, bottom } of bands(frame, reservedRanges(ioas)))
      this.#hatched(left, top, right - left, bottom - top)
    for (const { top, bottom } of bands(frame, ioas.allowed)) {
      this.#rectangle('--allowed', left - 4, top, 3, bottom - top)
    }
    const from = left + HEAT + 4
    const to = right - 2 * STRIPE - 6
    for (const haze of areas.haze) this.#haze(haze, from, to, hasGone(column, haze, scene))
    for (const block of areas.blocks) this.#area(block, from, to, scene)
    if (refused.ioas === undefined || refused.ioas === ioas.id)
      for (const [index, range] of refused.ranges.entries())
        for (const { top, bottom } of bands(frame, [range]))
          this.#outline(
            '--error',
            from - 2 + 5 * index,
            top,
            to - from + 4 - 10 * index,
            bottom - top,
          )
    this.#heat(frame, ioas, left)
    for (const { top, bottom } of this.#spans(layer(frame, ioas.pins, rangeOfPins)))
      this.#rectangle('--pin', right - 2 * STRIPE - 3, top, STRIPE - 2, bottom - top)
    for (const { top, bottom } of this.#spans(layer(frame, ioas.dirty, itself)))
      this.#rectangle('--dirty', right - STRIPE, top, STRIPE - 2, bottom - top)
    context.textAlign = 'left'
  }

  #heading({ ioas, left }: Column): void {
    const context = this.#context
    const text = `IOAS ${ioas.id}`
    context.font = '600 12px system-ui, sans-serif'
    const { width } = context.measureText(text)
    context.globalAlpha = 0.85
    this.#rectangle('--panel', left + HEAT + 4, 4, width + 12, 20)
    context.globalAlpha = 1
    context.textAlign = 'left'
    context.fillStyle = this.#colour('--text')
    context.fillText(text, left + HEAT + 10, 14)
    this.#drawn += 1
  }

  #area(block: Block<AreaState>, from: number, to: number, { call, isGone }: MapScene): void {
    const { of: area, top, bottom } = block
    const context = this.#context
    const chosen = area.call === call
    const colour = chosen
      ? '--map-chosen'
      : area.copyOf !== undefined
        ? '--map-shared'
        : area.writable
          ? '--map'
          : '--map-read-only'
    const height = Math.max(1, bottom - top - (bottom - top > 4 ? 1 : 0))
    this.#rectangle(colour, from, top, to - from, height)
    if (isGone(area)) this.#stripes('--error', from, top, to - from, height)
    if (bottom - top < 15 || to - from < 60) return
    context.save()
    context.beginPath()
    context.rect(
      from,
      Math.max(0, top),
      to - from,
      Math.min(bottom, this.#height) - Math.max(0, top),
    )
    context.clip()
    context.font = MONO
    context.textAlign = 'left'
    context.fillStyle = this.#colour('--map-text')
    const seenTop = Math.max(0, top)
    const middle = (seenTop + Math.min(this.#height, bottom)) / 2
    const permission = `${area.readable ? 'R' : '-'}${area.writable ? 'W' : '-'}`
    const text = `#${area.call}  ${permission}  ${byteCount(area.last - area.start + 1n)}  ${area.source}`
    context.fillText(text, from + 8, middle)
    context.restore()
    this.#drawn += 1
  }

  #haze({ top, bottom, weight, range }: Haze, from: number, to: number, gone: boolean): void {
    const context = this.#context
    const full = Math.min(1, weight / (Number(range.last - range.start) + 1))
    context.globalAlpha = 0.35 + 0.6 * full
    this.#rectangle(gone ? '--error' : '--map', from, top, to - from, bottom - top)
    context.globalAlpha = 1
  }

  #heat(frame: Frame, ioas: IoasState, left: number): void {
    const context = this.#context
    const { blocks, haze } = layer(frame, ioas.heat, itself)
    const spots = [
      ...blocks.map(({ of, top, bottom }) => ({
        top,
        bottom,
        hits: of.reads + of.writes + of.faults,
        fault: of.faults > 0,
      })),
      ...haze.map(({ top, bottom, weight, count, range }) => ({
        top,
        bottom,
        hits: weight,
        fault: count <= FEW && [...meeting(ioas.heat, range)].some(({ faults }) => faults > 0),
      })),
    ]
    for (const { top, bottom, hits, fault } of spots) {
      context.globalAlpha = fault ? 1 : Math.min(1, 0.4 + Math.log2(1 + hits) / 12)
      this.#rectangle(fault ? '--error' : '--heat', left, top, HEAT, Math.max(3, bottom - top))
    }
    context.globalAlpha = 1
  }

  /** Copies of the same memory in the column beside. */
  #links(left: Column, right: Column): void {
    const context = this.#context
    const beside = new Map<number, Block<AreaState>>()
    for (const block of right.areas.blocks) beside.set(block.of.shared, block)
    for (const one of left.areas.blocks) {
      const other = beside.get(one.of.shared)
      if (other === undefined) continue
      const x1 = left.right - 2 * STRIPE - 6
      const x2 = right.left + HEAT + 4
      const middle = (x1 + x2) / 2
      context.beginPath()
      context.moveTo(x1, one.top)
      context.bezierCurveTo(middle, one.top, middle, other.top, x2, other.top)
      context.lineTo(x2, other.bottom)
      context.bezierCurveTo(middle, other.bottom, middle, one.bottom, x1, one.bottom)
      context.closePath()
      context.globalAlpha = 0.3
      context.fillStyle = this.#colour('--map-shared')
      context.fill()
      context.globalAlpha = 1
      this.#drawn += 1
    }
  }

  #mark(frame: Frame, mark: bigint | undefined): void {
    if (mark === undefined) return
    const y = fractionOf(frame.view, mark) * frame.height
    if (y < 0 || y > frame.height) return
    this.#rectangle('--accent', RULER - 6, y - 0.75, this.#width, 1.5)
  }

  #spans<V>({ blocks, haze }: Layer<V>): { top: number; bottom: number }[] {
    return [...blocks, ...haze].map(({ top, bottom }) => ({
      top,
      bottom: Math.max(bottom, top + 2),
    }))
  }

  #hatched(left: number, top: number, width: number, height: number): void {
    const context = this.#context
    context.globalAlpha = 0.45
    this.#rectangle('--reserved', left, top, width, height)
    context.globalAlpha = 1
    this.#stripes('--reserved', left, top, width, height)
  }

  #stripes(colour: string, left: number, top: number, width: number, height: number): void {
    const context = this.#context
    const from = Math.max(0, top)
    const to = Math.min(this.#height, top + height)
    if (to - from < 8) return
    context.save()
    context.beginPath()
    context.rect(left, from, width, to - from)
    context.clip()
    context.beginPath()
    for (let x = left - (to - from); x < left + width; x += 9) {
      context.moveTo(x, to)
      context.lineTo(x + (to - from), from)
    }
    context.strokeStyle = this.#colour(colour)
    context.lineWidth = 1
    context.stroke()
    context.restore()
    this.#drawn += 1
  }

  #outline(colour: string, x: number, y: number, width: number, height: number): void {
    const context = this.#context
    context.strokeStyle = this.#colour(colour)
    context.lineWidth = 2
    context.setLineDash([5, 3])
    context.strokeRect(x, y, width, Math.max(3, height))
    context.setLineDash([])
    this.#drawn += 1
  }

  #rectangle(colour: string, x: number, y: number, width: number, height: number): void {
    const context = this.#context
    context.fillStyle = this.#colour(colour)
    context.fillRect(x, y, width, height)
    this.#drawn += 1
  }

  #colour(name: string): string {
    const known = this.#colours.get(name)
    if (known !== undefined) return known
    const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim()
    this.#colours.set(name, value)
    return value
  }
}
