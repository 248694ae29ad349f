/**
 * Files of ours that clients have open. Each is a memfd of its own, which we put into the caller and
 * let go of: its inode tells which file a descriptor is, however it was duplicated or passed on, and an
 * inotify watch on it reports the last close anywhere.
 */
import type { OpenFile } from '../engine/file.ts'
import { openPath, pathAt } from './client-memory.ts'
import { IN_CLOEXEC, IN_CLOSE, IN_NONBLOCK, MFD_CLOEXEC } from './kernel.ts'
import type { Block, Sys } from './sys.ts'
import type { Device } from './tree.ts'

const EVENTS_SIZE = 4096
const EVENT_HEADER = 16

/** An open file description of ours. */
export interface HostedFile {
  readonly file: OpenFile
  /** The node it was opened through; undefined for an anonymous file. */
  readonly node: Device | undefined
  readonly inode: number
  readonly watch: number
  /** Size of the memfd, which grows with what is mapped. */
  size: number
}

export class OpenFiles {
  readonly #sys: Sys
  readonly #byInode = new Map<number, HostedFile>()
  readonly #byFile = new Map<OpenFile, HostedFile>()
  readonly #byWatch = new Map<number, HostedFile>()
  readonly #events: Block
  /** inotify descriptor, readable when a file may have been closed. */
  readonly inotify: number
  /** Device number of the file system that memfds live in. */
  readonly device: number

  constructor(sys: Sys) {
    this.#sys = sys
    this.#events = sys.alloc(EVENTS_SIZE)
    this.inotify = sys.call('inotify_init1', IN_NONBLOCK | IN_CLOEXEC)
    if (this.inotify < 0) throw new Error(`inotify_init1 failed with errno ${-this.inotify}`)
    const probe = sys.call('memfd_create', pathAt(sys, 'probe'), MFD_CLOEXEC)
    this.device = this.#stat(probe).device
    sys.call('close', probe)
  }

  /** The file of ours with this inode, if `device` is where ours are. */
  find(device: number, inode: number): HostedFile | undefined {
    return device === this.device ? this.#byInode.get(inode) : undefined
  }

  of(file: OpenFile): HostedFile | undefined {
    return this.#byFile.get(file)
  }

  get size(): number {
    return this.#byInode.size
  }

  /**
   * A new open file description for `file`, to be put into a client and then closed here. `flags` are
   * those that fcntl(F_GETFL) shall show. A descriptor, or an errno negated.
   */
  create(file: OpenFile, node: Device | undefined, flags: number): number {
    const sys = this.#sys
    const made = sys.call('memfd_create', pathAt(sys, file.linkText), MFD_CLOEXEC)
    if (made < 0) return made
    const fd = openPath(sys, `/proc/self/fd/${made}`, flags)
    sys.call('close', made)
    if (fd < 0) return fd
    const watch = sys.call(
      'inotify_add_watch',
      this.inotify,
      pathAt(sys, `/proc/self/fd/${fd}`),
      IN_CLOSE,
    )
    if (watch < 0) {
      sys.call('close', fd)
      return watch
    }
    const { inode } = this.#stat(fd)
    const hosted = { file, node, inode, watch, size: 0 }
    this.#byInode.set(inode, hosted)
    this.#byFile.set(file, hosted)
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

  /** It never reached a client: nothing is released when our own descriptor is closed. */
  forget(file: OpenFile): void {
    const hosted = this.#byFile.get(file)
    if (hosted === undefined) return
    this.#byWatch.delete(hosted.watch)
    this.#byInode.delete(hosted.inode)
    this.#byFile.delete(file)
    this.#sys.call('inotify_rm_watch', this.inotify, hosted.watch)
  }

  #release(hosted: HostedFile): void {
    if (!this.#byWatch.delete(hosted.watch)) return
    this.#byInode.delete(hosted.inode)
    this.#byFile.delete(hosted.file)
    this.#sys.call('inotify_rm_watch', this.inotify, hosted.watch)
    hosted.file.release()
  }

  #stat(fd: number): { device: number; inode: number } {
    const { view, address } = this.#sys.scratch
    this.#sys.call('statx', fd, pathAt(this.#sys, ''), 0x1000, 0x100, address)
    return {
      device: view.getUint32(136, true) * 0x10_0000 + view.getUint32(140, true),
      inode: Number(view.getBigUint64(32, true)),
    }
  }
}
