/** The built program that supervises a run. */
export const SUPERVISOR = 'cli/supervisor-main.cjs'
