export function entryPoints(): string[]
export function bundle(): Promise<unknown>
