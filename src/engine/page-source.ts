/** The memory behind mappings: who recorded it, which pages are held, and why (01 §17, 04 §3). */
import type { Context } from './context.ts'

export class SourceOwners {
  readonly context: Context
  constructor(context: Context) {
    this.context = context
  }
}
