/** What the engine is told of a process, against what /proc says of it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import type { Capability } from '../../src/engine/ports.ts'
import { HostProcess } from '../../src/host/host-process.ts'
import { SharedMemory } from '../../src/host/shared-memory.ts'
import { koffiSys } from '../../src/host/sys-koffi.ts'

const CAPABILITIES: Readonly<Record<Capability, bigint>> = {
  CAP_IPC_LOCK: 14n,
  CAP_SYS_RAWIO: 17n,
  CAP_SYS_ADMIN: 21n,
  CAP_SYS_RESOURCE: 24n,
}

const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill()
})

const start = (command: string, args: readonly string[]): number => {
  const child = spawn(command, args, { stdio: 'ignore' })
  children.push(child)
  if (child.pid === undefined) throw new Error(`${command} did not start`)
  return child.pid
}

const isLinux = process.platform === 'linux'

describe.skipIf(!isLinux)(`a client process${isLinux ? '' : ' (skipped: needs Linux)'}`, () => {
  const sys = koffiSys()
  const of = (pid: number): HostProcess =>
    new HostProcess(sys, pid, new SharedMemory(sys, -1, () => false))

  test('has the capabilities that /proc shows, and as root those that nobody here can have', () => {
    const pid = start('sleep', ['60'])
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const set = (name: string): bigint =>
      BigInt(`0x${new RegExp(`^${name}:\\t([0-9a-f]+)`, 'm').exec(status)?.[1]}`)
    const isRoot = process.geteuid?.() === 0
    for (const [name, bit] of Object.entries(CAPABILITIES)) {
      const has = ((set('CapEff') >> bit) & 1n) === 1n
      const withheld = ((set('CapBnd') >> bit) & 1n) === 0n
      expect(of(pid).capable(name as Capability), name).toBe(has || (withheld && isRoot))
    }
  })

  test('gives up CAP_IPC_LOCK by setting its capabilities to what they are', () => {
    const pid = start('sleep', ['60'])
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const effective = BigInt(`0x${/^CapEff:\t([0-9a-f]+)/m.exec(status)?.[1]}`)
    const known = of(pid)
    known.setsCapabilities(Number(BigInt.asIntN(32, effective)))
    expect(known.capable('CAP_IPC_LOCK')).toBe(((effective >> 14n) & 1n) === 1n)
  })

  test('has no capabilities once it is gone', () => {
    const pid = spawnSync('true').pid
    expect(of(pid).capable('CAP_IPC_LOCK')).toBe(false)
  })

  test('has the real UID of its owner, whatever its effective one is', () => {
    const known = of(process.pid)
    expect(known.uid).toBe(process.getuid?.())
    if (process.getuid?.() !== 0 || process.seteuid === undefined) return
    process.seteuid(65534)
    try {
      expect(known.uid).toBe(0)
    } finally {
      process.seteuid(0)
    }
  })
})
