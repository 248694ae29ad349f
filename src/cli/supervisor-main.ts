/** The supervisor process of `run`: builds the machine that the options describe, and serves it. */
import { Machine } from '../engine/machine.ts'
import { supervise } from '../host/supervise.ts'

await supervise(() => {
  const machine = new Machine({ testInterface: true })
  return { nodes: () => machine.nodes() }
})
