/** The objects of a context: who counts on whom, and why IOMMU_DESTROY of one would answer EBUSY. */
import { Graph, layout } from '@dagrejs/dagre'
import { count } from '../../watch/english.ts'
import { type Hold, holdsIn, objectName, whyBusy } from '../model/holders.ts'
import type { ContextState, ObjectState } from '../model/moment.ts'
import { CallLink } from './areas.tsx'
import { chosenIoas, chosenObject, chosenView, context, tab } from './state.ts'

/** Beyond this many objects, only those that somebody counts on or that count on somebody are drawn. */
const MOST = 120
const WIDTH = 198
const HEIGHT = 44

interface Drawing {
  readonly width: number
  readonly height: number
  readonly nodes: readonly {
    readonly object: ObjectState
    readonly x: number
    readonly y: number
  }[]
  readonly edges: readonly { readonly hold: Hold; readonly path: string }[]
}

const drawingOf = (objects: readonly ObjectState[], holds: readonly Hold[]): Drawing => {
  const graph = new Graph({ multigraph: true })
  graph.setGraph({ rankdir: 'TB', nodesep: 22, ranksep: 40, marginx: 14, marginy: 14 })
  graph.setDefaultEdgeLabel(() => ({}))
  for (const { id } of objects) graph.setNode(String(id), { width: WIDTH, height: HEIGHT })
  const drawn = holds.filter(
    ({ by, on }) => graph.hasNode(String(by.id)) && graph.hasNode(String(on)),
  )
  for (const [index, { by, on }] of drawn.entries())
    graph.setEdge(String(by.id), String(on), {}, String(index))
  layout(graph)
  const { width = 0, height = 0 } = graph.graph()
  return {
    width,
    height,
    nodes: objects.map((object) => {
      const { x = 0, y = 0 } = graph.node(String(object.id))
      return { object, x, y }
    }),
    edges: drawn.map((hold, index) => {
      const { points = [] } = graph.edge(String(hold.by.id), String(hold.on), String(index))
      return { hold, path: curve(points) }
    }),
  }
}

const curve = (points: readonly { readonly x: number; readonly y: number }[]): string =>
  points
    .map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`)
    .join('')

const summary = (context: ContextState, object: ObjectState, users: number): string => {
  const space = context.ioases.get(object.id)
  const facts = [
    ...(space === undefined ? [] : [count(space.areas.size, 'area')]),
    ...(object.group === undefined ? [] : [`group ${object.group}`]),
    ...(object.tracking === true ? ['tracks dirty'] : []),
    ...(context.compatIoas === object.id ? ['compat'] : []),
    ...(users > 0 ? [count(users, 'user')] : []),
  ]
  return facts.join(' · ') || 'no users'
}

export const Objects = () => {
  const of = context.value
  if (of === undefined) return <p class="soft">No context is open at this moment.</p>
  const all = [...of.objects.values()]
  const holds = holdsIn(of)
  const users = new Map<number, number>()
  for (const { on } of holds) users.set(on, (users.get(on) ?? 0) + 1)
  const chosen = chosenObject.value
  const connected = new Set(holds.flatMap(({ by, on }) => [by.id, on]))
  const shown =
    all.length <= MOST
      ? all
      : all.filter(({ id }) => connected.has(id) || id === chosen).slice(0, MOST)
  return (
    <div class="stack">
      <p class="soft">
        Context {of.number}, opened by process {of.pid} through <code>{of.node}</code>. Arrows point
        to what an object counts on as a user.
        {shown.length < all.length && ` ${all.length - shown.length} more objects are not drawn.`}
      </p>
      {all.length > 0 && <Picture context={of} shown={shown} holds={holds} users={users} />}
      <Chosen context={of} />
      <ObjectTable context={of} objects={all} users={users} />
    </div>
  )
}

interface PictureProps {
  readonly context: ContextState
  readonly shown: readonly ObjectState[]
  readonly holds: readonly Hold[]
  readonly users: ReadonlyMap<number, number>
}

const Picture = ({ context: of, shown, holds, users }: PictureProps) => {
  const drawing = drawingOf(shown, holds)
  const chosen = chosenObject.value
  const keepers = new Set(holds.filter(({ on }) => on === chosen).map(({ by }) => by.id))
  return (
    <div class="graph">
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be a drawing */}
      <svg
        width={drawing.width}
        height={drawing.height}
        viewBox={`0 0 ${drawing.width} ${drawing.height}`}
        role="group"
        aria-label="Graph of the objects"
      >
        <defs>
          <marker
            id="arrow"
            viewBox="0 0 8 8"
            refX="7"
            refY="4"
            markerWidth="7"
            markerHeight="7"
            orient="auto"
          >
            <path d="M0 0L8 4L0 8z" fill="context-stroke" />
          </marker>
        </defs>
        {drawing.edges.map(({ hold, path }, index) => (
          <path
            key={`${index} ${path}`}
            class={`edge ${hold.how}`}
            d={path}
            marker-end="url(#arrow)"
          />
        ))}
        {drawing.nodes.map(({ object, x, y }) => (
          // biome-ignore lint/a11y/useSemanticElements: a button cannot stand in a drawing
          <g
            key={object.id}
            class={`node${keepers.has(object.id) ? ' keeps' : ''}`}
            role="button"
            tabindex={0}
            aria-pressed={object.id === chosen}
            aria-label={`${objectName(object)}, ${summary(of, object, users.get(object.id) ?? 0)}`}
            transform={`translate(${x - WIDTH / 2} ${y - HEIGHT / 2})`}
            onClick={() => {
              chosenObject.value = object.id
            }}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' && event.key !== ' ') return
              event.preventDefault()
              chosenObject.value = object.id
            }}
          >
            <rect width={WIDTH} height={HEIGHT} rx="7" />
            <text x="10" y="18">
              {shortened(objectName(object), 24)}
            </text>
            <text class="small" x="10" y="34">
              {shortened(summary(of, object, users.get(object.id) ?? 0), 32)}
            </text>
          </g>
        ))}
      </svg>
    </div>
  )
}

const shortened = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`

const Chosen = ({ context: of }: { readonly context: ContextState }) => {
  const id = chosenObject.value
  const object = id === undefined ? undefined : of.objects.get(id)
  if (object === undefined) return <p class="soft">Choose an object to see what keeps it alive.</p>
  return (
    <section aria-label="The chosen object" class="stack" style={{ gap: '4px' }}>
      <div class="row">
        <h2>{objectName(object)}</h2>
        {object.type === 'ioas' && (
          <button
            type="button"
            class="link"
            onClick={() => {
              chosenIoas.value = object.id
              chosenView.value = undefined
              tab.value = 'space'
            }}
          >
            show its address space
          </button>
        )}
      </div>
      <p>
        Made by call <CallLink number={object.created} />. {whyBusy(of, object)}
      </p>
      {of.compatIoas === object.id && (
        <p class="soft">
          It is the IOAS of the VFIO container calls, since call <CallLink number={of.compatCall} />
          . That counts as no user: destroying it makes the context forget it.
        </p>
      )}
    </section>
  )
}

interface TableProps {
  readonly context: ContextState
  readonly objects: readonly ObjectState[]
  readonly users: ReadonlyMap<number, number>
}

const ROWS = 300

const ObjectTable = ({ context: of, objects, users }: TableProps) => (
  <details>
    <summary>As a list: {count(objects.length, 'object')}</summary>
    <table>
      <thead>
        <tr>
          <th>Object</th>
          <th class="right">Users</th>
          <th>Counts on</th>
          <th class="right">Made by</th>
        </tr>
      </thead>
      <tbody>
        {objects.slice(0, ROWS).map((object) => (
          <tr key={object.id} aria-selected={object.id === chosenObject.value}>
            <td>
              <button
                type="button"
                class="link"
                onClick={() => {
                  chosenObject.value = object.id
                }}
              >
                {objectName(object)}
              </button>
            </td>
            <td class="mono right">{users.get(object.id) ?? 0}</td>
            <td>
              {[...object.holds, ...object.attachments.map(({ to }) => to)]
                .map((id) => nameOf(of, id))
                .join(', ')}
            </td>
            <td class="mono right">#{object.created}</td>
          </tr>
        ))}
      </tbody>
    </table>
    {objects.length > ROWS && <p class="soft">and {objects.length - ROWS} more.</p>}
  </details>
)

const nameOf = (of: ContextState, id: ObjectState['id']): string => {
  const object = of.objects.get(id)
  return object === undefined ? String(id) : `${object.type} ${id}`
}
