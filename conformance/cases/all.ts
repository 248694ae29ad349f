/** Every example, in the order of the specification. */
import type { Example } from '../example.ts'
import * as automaticIova from './01-22-automatic-iova.ts'
import * as core from './01-22-core.ts'
import * as hardware from './01-22-hardware.ts'
import * as map from './01-22-map.ts'
import * as processes from './01-22-processes.ts'
import * as container from './02-08-container.ts'
import * as emulated from './02-08-emulated.ts'
import * as physical from './02-08-physical.ts'
import * as dirty from './03-17-dirty.ts'
import * as pageTables from './03-17-page-tables.ts'
import * as access from './04-12-access.ts'
import * as events from './04-12-events.ts'
import * as viommu from './04-12-viommu.ts'
import * as mockAccesses from './05-12-mock-accesses.ts'
import * as mockDevices from './05-12-mock-devices.ts'
import * as mockNesting from './05-12-mock-nesting.ts'

const byTitle = new Intl.Collator('en', { numeric: true })

export const allExamples: readonly Example[] = [
  core,
  automaticIova,
  map,
  container,
  emulated,
  physical,
  mockDevices,
  mockAccesses,
  mockNesting,
  hardware,
  processes,
  pageTables,
  dirty,
  access,
  events,
  viommu,
]
  .flatMap((chapter) => Object.values(chapter))
  .sort((a, b) => byTitle.compare(a.title, b.title))
