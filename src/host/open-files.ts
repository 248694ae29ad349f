/**
 * Files of ours that clients have open. Each is a kernel object of its own, which we put into the caller
 * and let go of: its inode tells which file a descriptor is, however it was duplicated or passed on, and
 * an inotify watch on it reports the last close anywhere.
 *
 * Most are memfds: always ready for poll, refused by epoll, mappable. A file with a readiness of its own
 * is a pipe, which we keep empty or not, so that poll, select and epoll work on it without our help.
 */
import { type OpenFile, Poll } from '../engine/file.ts'
import { openPath, pathAt } from './client-memory.ts'
import type { FileRegions } from './file-regions.ts'
import { IN_CLOEXEC, IN_CLOSE, IN_NONBLOCK, MFD_CLOEXEC, O } from './kernel.ts'
import type { Block, Sys } from './sys.ts'
import type { SyntheticNode } from './tree.ts'

const EVENTS_SIZE = 4096
const EVENT_HEADER = 16
const AT_EMPTY_PATH = 0x1000
const STATX_INO = 0x100

/** An open file description of ours. */
export interface HostedFile {
  /** What answers calls; undefined for an O_PATH descriptor, a directory, or a file of plain text. */
  readonly file: OpenFile | undefined
  /** The node it was opened through; undefined for an anonymous file. */
  readonly node: SyntheticNode | undefined
  /** Opened with O_PATH: no call on what it names is possible. The kernel puts no such descriptor into a caller, so this is one of another kind. */
  readonly pathOnly: boolean
  readonly inode: number
  readonly watch: number
  /** Ends what keeps its readiness up to date. */
  readonly stop: () => void
  /** Path it was opened by, or what stands for it. */
  readonly path: string
  /** What clients have mapped of it, once they have. */
  regions: FileRegions | undefined
}

export interface FileToCreate {
  readonly file?: OpenFile | undefined
  readonly node?: SyntheticNode | undefined
  /** Its path; people find it in /proc/PID/maps. */
  readonly name: string
  /** As fcntl(F_GETFL) shall show them. */
  readonly flags: number
  readonly content?: Uint8Array
  readonly pathOnly?: boolean
}

export class OpenFiles {
  readonly #sys: Sys
  readonly #byInode = new Map<number, HostedFile>()
  readonly #byFile = new Map<OpenFile, HostedFile>()
  readonly #byWatch = new Map<number, HostedFile>()
  readonly #events: Block
  /** inotify descriptor, readable when a file may have been closed. */
  readonly inotify: number
  /** Device numbers of the file systems that memfds and pipes live in. */
  readonly device: number
  readonly #pipeDevice: number

  constructor(sys: Sys) {
    this.#sys = sys
    this.#events = sys.alloc(EVENTS_SIZE)
    this.inotify = sys.call('inotify_init1', IN_NONBLOCK | IN_CLOEXEC)
    if (this.inotify < 0) throw new Error(`inotify_init1 failed with errno ${-this.inotify}`)
    const probe = sys.call('memfd_create', pathAt(sys, 'probe'), MFD_CLOEXEC)
    this.device = this.identity(probe).device
    sys.call('close', probe)
    const [read, write] = this.#pipe()
    this.#pipeDevice = this.identity(read).device
    sys.call('close', read)
    sys.call('close', write)
  }

  /** The file of ours with this inode, if `device` is where ours are. */
  find(device: number, inode: number): HostedFile | undefined {
    return device === this.device || device === this.#pipeDevice
      ? this.#byInode.get(inode * 2 + (device === this.device ? 0 : 1))
      : undefined
  }

  of(file: OpenFile): HostedFile | undefined {
    return this.#byFile.get(file)
  }

  get size(): number {
    return this.#byInode.size
  }

  /** A new open file description, to be put into a client and then closed here: a descriptor, or an errno negated. */
  create(wanted: FileToCreate): number {
    const { file } = wanted
    return file?.poll === undefined || file.isDevice
      ? this.#createMemory(wanted)
      : this.#createPipe(wanted, file)
  }

  #createMemory(wanted: FileToCreate): number {
    const sys = this.#sys
    const made = sys.call('memfd_create', pathAt(sys, wanted.name), MFD_CLOEXEC)
    if (made < 0) return made
    if (wanted.content !== undefined) this.#fill(made, wanted.content)
    const fd = openPath(sys, `/proc/self/fd/${made}`, wanted.flags)
    sys.call('close', made)
    return fd < 0 ? fd : this.#register(fd, wanted, () => {})
  }

  #fill(fd: number, content: Uint8Array): void {
    const { bytes, address } = this.#events
    for (let done = 0; done < content.length; done += EVENTS_SIZE) {
      const part = content.subarray(done, done + EVENTS_SIZE)
      bytes.set(part)
      this.#sys.call('write', fd, address, part.length)
    }
  }

  #pipe(): [number, number] {
    const { view, address } = this.#sys.scratch
    const result = this.#sys.call('pipe2', address, O.CLOEXEC | O.NONBLOCK)
    return result < 0 ? [result, result] : [view.getInt32(0, true), view.getInt32(4, true)]
  }

  /**
   * The client's description is for reading and writing, hence always writable, if the file is at times
   * ready for writing; else for reading only, which never is. Ours puts a byte in or takes it out.
   */
  #createPipe(wanted: FileToCreate, file: OpenFile): number {
    const sys = this.#sys
    const [read, write] = this.#pipe()
    if (read < 0) return read
    const ours = openPath(sys, `/proc/self/fd/${read}`, O.RDWR | O.NONBLOCK)
    const writable = ((file.poll?.() ?? 0) & Poll.OUT) !== 0
    const fd = openPath(sys, `/proc/self/fd/${read}`, writable ? O.RDWR : O.RDONLY | O.NONBLOCK)
    sys.call('close', read)
    sys.call('close', write)
    if (ours < 0 || fd < 0) return Math.min(ours, fd)
    let full = false
    const update = (): void => {
      const ready = ((file.poll?.() ?? 0) & Poll.IN) !== 0
      if (ready !== full) sys.call(ready ? 'write' : 'read', ours, sys.scratch.address, 1)
      full = ready
    }
    const stop = file.onPollChange?.(update)
    update()
    return this.#register(fd, wanted, () => {
      stop?.()
      sys.call('close', ours)
    })
  }

  #register(fd: number, wanted: FileToCreate, stop: () => void): number {
    const sys = this.#sys
    const { file, node, name, pathOnly = false } = wanted
    const watch = sys.call(
      'inotify_add_watch',
      this.inotify,
      pathAt(sys, `/proc/self/fd/${fd}`),
      IN_CLOSE,
    )
    if (watch < 0) {
      sys.call('close', fd)
      stop()
      return watch
    }
    const { inode, device } = this.identity(fd)
    const key = inode * 2 + (device === this.device ? 0 : 1)
    const hosted: HostedFile = {
      file,
      node,
      pathOnly,
      inode: key,
      watch,
      stop,
      path: name,
      regions: undefined,
    }
    this.#byInode.set(key, hosted)
    if (file !== undefined) this.#byFile.set(file, hosted)
    this.#byWatch.set(watch, hosted)
    return fd
  }

  /** Releases what has been closed for the last time. */
  drain(): void {
    for (;;) {
      const length = this.#sys.call('read', this.inotify, this.#events.address, EVENTS_SIZE)
      if (length <= 0) return
      const closed: HostedFile[] = []
      for (let at = 0; at < length; ) {
        const watch = this.#events.view.getInt32(at, true)
        const mask = this.#events.view.getUint32(at + 4, true)
        const hosted = (mask & IN_CLOSE) !== 0 ? this.#byWatch.get(watch) : undefined
        if (hosted !== undefined) closed.push(hosted)
        at += EVENT_HEADER + this.#events.view.getUint32(at + 12, true)
      }
      for (const hosted of closed) this.#release(hosted)
    }
  }

  /** Everything still open is released: nobody is left who could use it. */
  releaseAll(): void {
    for (const hosted of [...this.#byWatch.values()]) this.#release(hosted)
  }

  #release(hosted: HostedFile): void {
    if (this.#remove(hosted)) hosted.file?.release()
  }

  /** It never reached a client: nothing is to be released. `fd` is closed. */
  discard(fd: number, file: OpenFile | undefined): void {
    const hosted = file && this.#byFile.get(file)
    if (hosted !== undefined) this.#remove(hosted)
    this.#sys.call('close', fd)
  }

  #remove(hosted: HostedFile): boolean {
    if (!this.#byWatch.delete(hosted.watch)) return false
    this.#byInode.delete(hosted.inode)
    if (hosted.file !== undefined) this.#byFile.delete(hosted.file)
    this.#sys.call('inotify_rm_watch', this.inotify, hosted.watch)
    hosted.stop()
    hosted.regions?.close()
    return true
  }

  /** Device and inode behind a descriptor of our own. */
  identity(fd: number): { device: number; inode: number } {
    const { view, address } = this.#sys.scratch
    this.#sys.call('statx', fd, pathAt(this.#sys, ''), AT_EMPTY_PATH, STATX_INO, address)
    return {
      device: view.getUint32(136, true) * 0x10_0000 + view.getUint32(140, true),
      inode: Number(view.getBigUint64(32, true)),
    }
  }
}
