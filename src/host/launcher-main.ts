/**
 * The thread that starts the program: it alone is put under the seccomp filter, and the program, its
 * child, inherits that. It then waits for the program and says how it ended.
 *
 * A thread rather than a process: the listener is then in the supervisor's own descriptor table.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Launch, launch, Word } from './launcher.ts'
import { koffiSys } from './sys-koffi.ts'

const words: Int32Array = workerData
const sys = koffiSys()
Atomics.wait(words, Word.GO, 0)
const message = parentPort && receiveMessageOnPort(parentPort)
if (message) launch(sys, words, message.message as Launch)
