/** The page table: any IOVA, walked level by level, with the bits of each entry by name. */
import { signal } from '@preact/signals'
import { iova as checkedIova, hex, type ObjectId } from '../../abi/brands.ts'
import { byteCount } from '../model/call-text.ts'
import { bitsOf } from '../model/entry-bits.ts'
import { ioasOf } from '../model/fold.ts'
import type { ContextState, ObjectState } from '../model/moment.ts'
import type { TableWalk, WalkedLevel } from '../model/table-walk.ts'
import { chosenHwpt, context, ioas, position, walkedIova } from './state.ts'

/** Walks the table of an HWPT as it was at a position, or says in a sentence why it cannot. */
export type Walk = (
  position: number,
  context: number,
  hwpt: ObjectId,
  iova: bigint,
) => TableWalk | string

/** Set by who has an engine to ask. */
export const walker = signal<Walk | undefined>(undefined)

const typed = signal('')
const mistake = signal('')

const hwptsOf = (of: ContextState): readonly ObjectState[] =>
  [...of.objects.values()].filter(({ type }) => type === 'hwpt-paging' || type === 'hwpt-nested')

const parse = (text: string): bigint | undefined => {
  try {
    return checkedIova(BigInt(text.trim().replaceAll('_', '')))
  } catch {
    return undefined
  }
}

export const PageTable = () => {
  const of = context.value
  const hwpts = of === undefined ? [] : hwptsOf(of)
  if (of === undefined || hwpts.length === 0)
    return (
      <p class="soft">
        There is no page table at this moment: one is made when a device is attached, or by
        IOMMU_HWPT_ALLOC.
      </p>
    )
  const hwpt =
    hwpts.find(({ id }) => id === chosenHwpt.value) ??
    hwpts.find(({ id }) => ioasOf(of, id) === ioas.value?.id) ??
    hwpts[0]
  const at = walkedIova.value ?? ioas.value?.areas.atOrAfter(0n)?.start ?? 0n
  return (
    <div class="stack">
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault()
          const address = parse(typed.value === '' ? hex(at) : typed.value)
          mistake.value =
            address === undefined ? 'That is no address; one looks like 0x100000.' : ''
          if (address !== undefined) walkedIova.value = address
          typed.value = ''
        }}
      >
        <select
          aria-label="Page table"
          value={hwpt?.id ?? ''}
          onChange={({ currentTarget }) => {
            chosenHwpt.value = hwpts.find(({ id }) => String(id) === currentTarget.value)?.id
          }}
        >
          {hwpts.map(({ id, type }) => (
            <option key={id} value={id}>
              {type} {id}
              {ioasOf(of, id) === undefined ? '' : ` (IOAS ${ioasOf(of, id)})`}
            </option>
          ))}
        </select>
        <label class="row grow">
          <span class="soft">IOVA</span>
          <input
            class="mono grow"
            type="text"
            spellcheck={false}
            aria-label="IOVA to walk"
            placeholder={hex(at)}
            value={typed.value}
            onInput={({ currentTarget }) => {
              typed.value = currentTarget.value
            }}
          />
        </label>
        <button type="submit">Walk</button>
      </form>
      {mistake.value !== '' && <p class="error">{mistake.value}</p>}
      {hwpt !== undefined && <Walked of={of} hwpt={hwpt.id} at={at} />}
    </div>
  )
}

interface WalkedProps {
  readonly of: ContextState
  readonly hwpt: ObjectId
  readonly at: bigint
}

const Walked = ({ of, hwpt, at }: WalkedProps) => {
  const walk = walker.value
  if (walk === undefined)
    return <p class="soft">Page tables cannot be looked at here: there is no engine to ask.</p>
  const walked = walk(position.value, of.number, hwpt, at)
  if (typeof walked === 'string') return <p class="soft">{walked}</p>
  return (
    <>
      <p class="soft">
        <code>{walked.format}</code>, {walked.iovaBits}-bit addresses, pages of {walked.pageSizes}.
      </p>
      <IovaBits walked={walked} at={at} />
      {walked.levels.map((level) => (
        <Level key={level.level} level={level} format={walked.format} />
      ))}
      <p>
        <strong>
          {walked.phys === undefined
            ? `${hex(at)} does not translate: ${walked.fault}.`
            : `${hex(at)} translates to physical ${hex(walked.phys)}.`}
        </strong>
      </p>
    </>
  )
}

/** The address in binary, cut where the levels take their indices. */
const IovaBits = ({ walked, at }: { readonly walked: TableWalk; readonly at: bigint }) => (
  <div class="iova-bits mono">
    {walked.levels.map(({ level, index, indexBits }) => (
      <span key={level}>
        <small>
          level {level}: {index}
        </small>
        {index.toString(2).padStart(indexBits, '0')}
      </span>
    ))}
    {walked.offsetBits > 0 && (
      <span>
        <small>offset {hex(at & ((1n << BigInt(walked.offsetBits)) - 1n))}</small>
        {walked.offsetBits} bits
      </span>
    )}
  </div>
)

const KINDS = { table: 'points to the next table', leaf: 'translates', empty: 'is empty' } as const

const Level = ({ level, format }: { readonly level: WalkedLevel; readonly format: string }) => (
  <section class={`level ${level.kind}`} aria-label={`Level ${level.level}`}>
    <div class="row">
      <h2>Level {level.level}</h2>
      <span class="soft grow">
        entry {level.index} of the table at <code>{hex(level.tableAddress)}</code>{' '}
        {KINDS[level.kind]}
        {', '}
        {byteCount(level.span)}
      </span>
      <code>0x{level.word.toString(16).padStart(16, '0')}</code>
    </div>
    {level.kind !== 'empty' && (
      <div class="bits">
        {bitsOf(format, level).map(({ name, value, meaning, set }) => (
          <span key={name} class={`bit mono ${set ? 'set' : 'clear'}`} title={meaning}>
            {name}
            {value === '' ? '' : ` ${value}`}
          </span>
        ))}
      </div>
    )}
  </section>
)
