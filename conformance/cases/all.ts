/** Every example, in the order of the specification. */
import type { Example } from '../example.ts'
import * as automaticIova from './01-22-automatic-iova.ts'
import * as core from './01-22-core.ts'
import * as map from './01-22-map.ts'
import * as container from './02-08-container.ts'

const byTitle = new Intl.Collator('en', { numeric: true })

export const allExamples: readonly Example[] = [core, automaticIova, map, container]
  .flatMap((chapter) => Object.values(chapter))
  .sort((a, b) => byTitle.compare(a.title, b.title))
