import { hex } from '../abi/brands.ts'
import type { CallNumber, ContextNumber, EngineEvent } from '../engine/events.ts'
import { Refusal } from '../engine/reason.ts'
import { bigMember, callName, callText, membersOf, subjectsOf } from './call-members.ts'
import type { Finder, FinderKind, Report } from './finder.ts'
import type { FindingKind } from './finding.ts'

const kind: FindingKind = {
  code: 'chosen-iova-ignored',
  severity: 'warning',
  title: 'A program uses the IOVA that it passed, not the one that the kernel chose.',
  why:
    'Without IOMMU_IOAS_MAP_FIXED_IOVA the iova of IOMMU_IOAS_MAP is not even a hint: the kernel chooses, ' +
    'and writes its choice back. A device that is given the passed IOVA reaches nothing, or something else.',
}

/** What a call passed as IOVA, and what it got. */
interface Chosen {
  readonly passed: bigint
  readonly chosen: bigint
  readonly length: bigint
  readonly call: CallNumber
}

/** As many of a context as are remembered. */
const REMEMBERED = 1024

/** Refusals of calls on an IOVA where nothing is mapped. */
const MISSES: ReadonlySet<string> = new Set(['nothing-mapped', 'copy-source-not-mapped'])

const makeFinder = (): Finder => {
  const contexts = new Map<ContextNumber, Map<bigint, Chosen>>()

  const learn = (event: EngineEvent & { type: 'call' }, context: ContextNumber): void => {
    const { input, output } = membersOf(event)
    const passed = bigMember(input, 'iova') ?? bigMember(input, 'dst_iova')
    const chosen = bigMember(output, 'iova') ?? bigMember(output, 'dst_iova')
    const length = bigMember(input, 'length') ?? 0n
    if (!passed || chosen === undefined || passed === chosen) return
    const ofContext = contexts.get(context) ?? new Map<bigint, Chosen>()
    contexts.set(context, ofContext)
    ofContext.set(passed, { passed, chosen, length, call: event.call })
    for (const oldest of ofContext.keys()) {
      if (ofContext.size <= REMEMBERED) break
      ofContext.delete(oldest)
    }
  }

  const missed = (
    context: ContextNumber,
    iova: bigint,
    call: CallNumber,
    what: string,
    report: Report,
  ): void => {
    const ofContext = contexts.get(context)
    const one =
      ofContext?.get(iova) ??
      [...(ofContext?.values() ?? [])].find(
        ({ passed, length }) => iova >= passed && iova < passed + length,
      )
    if (one === undefined) return
    ofContext?.delete(one.passed)
    report({
      severity: kind.severity,
      code: kind.code,
      sentence: `${what} at IOVA ${hex(iova)}, where nothing is mapped: call #${one.call} passed ${hex(one.passed)} without IOMMU_IOAS_MAP_FIXED_IOVA, and the kernel chose ${hex(one.chosen)}.`,
      evidence: [
        { call: one.call, what: `wrote ${hex(one.chosen)} back` },
        ...(call === one.call || call === 0 ? [] : [{ call, what: `used ${hex(iova)}` }]),
      ],
      advice: 'Use the iova that the call writes back, or set IOMMU_IOAS_MAP_FIXED_IOVA.',
    })
  }

  return (event, report) => {
    switch (event.type) {
      case 'call': {
        const { context, result } = event
        if (context === undefined || event.operation !== 'ioctl') return
        const name = callName(event)
        if (!(result instanceof Refusal)) {
          if (name.startsWith('IOMMU_IOAS_')) learn(event, context)
          return
        }
        const { iova } = subjectsOf(event)
        if (iova !== undefined && MISSES.has(result.code))
          missed(context, iova, event.call, `${callText(event)} looked`, report)
        return
      }
      case 'dma-fault':
        if (event.fault === 'not-mapped')
          missed(
            event.context,
            event.iova,
            event.call,
            `${event.device} ${event.write ? 'wrote' : 'read'}`,
            report,
          )
        return
      case 'context-released':
        contexts.delete(event.context)
    }
  }
}

export const ignoredOutput: FinderKind = { finds: [kind], make: makeFinder }
