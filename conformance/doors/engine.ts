/** The first door: plays a script against the engine, in this process. */
import { Machine } from '../../src/engine/machine.ts'
import { TestBench } from '../../src/iommu/test/test-bench.ts'
import { testCommand } from '../../src/iommu/test/test-command.ts'
import { Vfio } from '../../src/vfio/vfio.ts'
import { scratchDevices } from '../places.ts'
import { addPciDevices } from './pci-devices.ts'
import { SimulatedProcess } from './simulated-process.ts'

/**
 * A machine as the real kernel of the comparison is built: with the test interface. Beside that it has
 * the scratch devices that some examples need.
 */
export const testMachine = (): Machine => {
  const machine = new Machine({
    testInterface: true,
    commands: [testCommand(new TestBench())],
  })
  const vfio = new Vfio(machine)
  for (const { name, group } of scratchDevices) vfio.addEmulated({ name, group })
  return machine
}

/** A machine with the devices and the native container of the real kernel of the comparison. */
export const kernelLikeMachine = (): Machine => {
  const machine = new Machine({ testInterface: true, commands: [testCommand(new TestBench())] })
  addPciDevices(new Vfio(machine, { container: 'type1' }))
  return machine
}

/**
 * The transcript of a script. All cases share one machine, as they share one kernel. What the engine
 * throws ends the case, as a crash ends a process, and is in the transcript.
 */
export const playOnEngine = (script: string, machine = testMachine()): string => {
  const transcript: string[] = []
  for (const [title, lines] of casesOf(script)) {
    transcript.push(`case ${title}`)
    const player = new Player(machine)
    try {
      for (const line of lines) {
        const answer = player.execute(line)
        if (answer !== undefined) transcript.push(answer)
      }
      player.end()
    } catch (error) {
      transcript.push(`thrown: ${error instanceof Error ? firstLines(error) : error}`)
    }
  }
  return `${transcript.join('\n')}\n`
}

const firstLines = (error: Error): string =>
  (error.stack ?? error.message).split('\n').slice(0, 6).join(' ')

const casesOf = (script: string): Map<string, string[]> => {
  const cases = new Map<string, string[]>()
  let lines: string[] | undefined
  for (const line of script.split('\n'))
    if (line.startsWith('case ')) {
      lines = []
      cases.set(line.slice('case '.length), lines)
    } else if (line !== '') lines?.push(line)
  return cases
}

/** The processes of one case. */
class Player {
  readonly #machine: Machine
  readonly #processes = new Map<number, SimulatedProcess>()
  #current = 0

  constructor(machine: Machine) {
    this.#machine = machine
    this.#processes.set(0, new SimulatedProcess(machine))
  }

  execute(line: string): string | undefined {
    const [name, number] = line.split(' ')
    switch (name) {
      case 'in':
        this.#current = Number(number)
        return undefined
      case 'fork':
        this.#processes.set(Number(number), new SimulatedProcess(this.#machine, this.#first))
        return '= 0'
      case 'exit':
      case 'kill':
        this.#processes.get(Number(number))?.exit()
        this.#processes.delete(Number(number))
        return name === 'exit' ? '= 0' : '= 137'
      default:
        return this.#processes.get(this.#current)?.execute(line)
    }
  }

  get #first(): SimulatedProcess {
    const first = this.#processes.get(0)
    if (first === undefined)
      throw new Error('the first process of a case lasts as long as the case')
    return first
  }

  end(): void {
    for (const process of [...this.#processes.values()].reverse()) process.exit()
  }
}
