import type { ObjectId } from '../abi/brands.ts'
import type { ContextNumber, EngineEvent } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import { callName, callText, membersOf, numberMember } from './call-members.ts'
import { objectText } from './english.ts'
import type { Finder, FinderKind, Known, Report } from './finder.ts'
import type { FindingKind } from './finding.ts'

const guessed: FindingKind = {
  code: 'destroyed-by-guess',
  severity: 'warning',
  title: 'A program destroyed an object whose ID no call had told it.',
  why:
    'IDs are small and dense, so a guess often hits something, today. The compat IOAS of a container is an ' +
    'object of the program too: its ID is asked for with IOMMU_VFIO_IOAS GET.',
}

const unknown: FindingKind = {
  code: 'id-never-existed',
  severity: 'note',
  title: 'A call named an object ID that never existed in its context.',
  why:
    'The ID was guessed, belongs to another iommufd, or comes from an out_ field of a call that failed: ' +
    'out_ fields mean something only after success.',
}

const makeFinder = ({ history }: Known): Finder => {
  /** IDs of automatic objects that the program was told. */
  const told = new Map<ContextNumber, Set<number>>()
  const reported = new Set<string>()

  /** Whatever a successful call writes back may be an ID. */
  const learn = (event: EngineEvent & { type: 'call' }, context: ContextNumber): void => {
    const id = numberMember(membersOf(event).output, 'ioas_id')
    if (id === undefined) return
    const ids = told.get(context) ?? new Set<number>()
    told.set(context, ids)
    ids.add(id)
  }

  const failed = (
    event: EngineEvent & { type: 'call' },
    refusal: Refusal,
    report: Report,
  ): void => {
    const { id, found }: Readonly<Record<string, unknown>> = { ...(refusal.fields as object) }
    const context = event.context === undefined ? undefined : history.contexts.get(event.context)
    if (refusal.code !== 'no-such-object' || found !== undefined) return
    if (context === undefined || typeof id !== 'number' || id === 0) return
    if (context.former.has(id as ObjectId)) return
    const key = `${event.context} ${id}`
    if (reported.has(key)) return
    reported.add(key)
    report({
      severity: unknown.severity,
      code: unknown.code,
      sentence: `${callText(event)} named the ID ${id}, which no object of ${context.node} opened in call #${context.opened} ever had.`,
      evidence: [{ call: event.call, what: refusal.say() }],
      advice:
        'Use the ID that an out_ field returned, after checking that the call succeeded, and only with the iommufd that it came from.',
    })
  }

  return (event, report) => {
    switch (event.type) {
      case 'call':
        if (event.context === undefined) return
        if (event.result instanceof Refusal) failed(event, event.result, report)
        else if (callName(event) === 'IOMMU_VFIO_IOAS') learn(event, event.context)
        return
      case 'object-destroyed': {
        const object = history.contexts.get(event.context)?.objects.get(event.id)
        if (event.by !== 'destroy' || object?.automatic !== true) return
        if (told.get(event.context)?.has(event.id)) return
        report({
          severity: guessed.severity,
          code: guessed.code,
          sentence: `IOMMU_DESTROY destroyed ${objectText(object)}, which the kernel had made by itself, and whose ID no call had told the program.`,
          evidence: [
            { call: object.made, what: `${objectText(object)} was made, as the compat IOAS` },
            { call: event.call, what: 'destroyed it' },
          ],
          advice: 'Ask for the ID with IOMMU_VFIO_IOAS GET before using it.',
        })
        return
      }
      case 'context-released':
        told.delete(event.context)
    }
  }
}

export const guessedId: FinderKind = { finds: [guessed, unknown], make: makeFinder }
