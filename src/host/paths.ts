/**
 * Where a path leads: to a node of ours, or into the real file system, where the kernel is left to
 * follow it. Only paths that could end at one of ours are walked here, component by component, with the
 * overlay laid over what is really there.
 *
 * Paths are strings of Latin-1: one character per byte, whatever the bytes are.
 */
import { Errno } from '../abi/errno.ts'
import { openPath } from './client-memory.ts'
import { AT_FDCWD, openFlags } from './kernel.ts'
import type { HostedFile, OpenFiles } from './open-files.ts'
import type { ProcFiles } from './proc-files.ts'
import type { Block, Sys } from './sys.ts'
import type { InodeKey, Tasks } from './tasks.ts'
import type { Directory, SyntheticNode, Tree } from './tree.ts'
import { WorkingDirectories } from './working-directories.ts'

export type Destination =
  /** Nothing of ours: the kernel answers. */
  | { readonly type: 'native' }
  | {
      readonly type: 'node'
      readonly node: SyntheticNode
      readonly path: string
      /** A directory that the kernel finds as well, by the same path. */
      readonly native?: boolean
    }
  /** A real file that the kernel would not find by the path as given: it goes through something of ours. */
  | { readonly type: 'real'; readonly path: string }
  /** /proc/.../fd/N, where N is a file of ours. */
  | { readonly type: 'descriptor'; readonly hosted: HostedFile }
  /** The link /proc/.../fd/N itself. */
  | { readonly type: 'descriptor-link'; readonly hosted: HostedFile }
  | { readonly type: 'error'; readonly errno: number }

export interface PathOptions {
  /** A symbolic link at the end is followed. */
  readonly follow: boolean
  /** openat2's RESOLVE_* bits. */
  readonly resolve?: number
}

export const RESOLVE = {
  NO_XDEV: 1,
  NO_MAGICLINKS: 2,
  NO_SYMLINKS: 4,
  BENEATH: 8,
  IN_ROOT: 16,
  CACHED: 32,
} as const

/** Where a walk begins, and whether the kernel would begin there. */
interface Start {
  readonly path: string
  readonly native: boolean
}

const NATIVE: Destination = { type: 'native' }
const error = (errno: number): Destination => ({ type: 'error', errno })
const MAX_LINKS = 40
const PATH_MAX = 4096
const EXDEV = 18

/** Names that may lead to something of ours although no node is called so. */
const SPECIAL = /^(\d+|\.\.?||status|fail-nth|cwd)$/

export class Paths {
  readonly #sys: Sys
  readonly #tree: Tree
  readonly #tasks: Tasks
  readonly #files: OpenFiles
  readonly #proc: ProcFiles
  readonly #path: Block
  readonly #target: Block
  /** A process has perhaps changed its root: look before assuming that it is ours. */
  rootsMayDiffer = false
  readonly #workingDirectories: WorkingDirectories
  readonly #realDirectories = new Map<string, { device: number; inode: number } | undefined>()

  constructor(sys: Sys, tree: Tree, tasks: Tasks, files: OpenFiles, proc: ProcFiles) {
    this.#proc = proc
    this.#sys = sys
    this.#tree = tree
    this.#tasks = tasks
    this.#files = files
    this.#workingDirectories = new WorkingDirectories(sys)
    this.#path = sys.alloc(2 * PATH_MAX)
    this.#target = sys.alloc(PATH_MAX)
  }

  /** `directory` is a descriptor of the thread, or AT_FDCWD. */
  resolve(tid: number, directory: number, path: string, options: PathOptions): Destination {
    if (path === '' || path.length >= PATH_MAX) return NATIVE
    if (this.#mayConcernUs(tid, directory, path, options))
      return this.#walk(tid, directory, path, options)
    return NATIVE
  }

  /** Cheap, since nearly all paths of a program do not. */
  #mayConcernUs(tid: number, directory: number, path: string, options: PathOptions): boolean {
    const slash = path.lastIndexOf('/')
    const last = path.slice(slash + 1)
    const before = path.slice(path.lastIndexOf('/', slash - 1) + 1, Math.max(slash, 0))
    if (this.#tree.hasName(last) || this.#tree.hasName(before) || SPECIAL.test(last)) return true
    if (!path.startsWith('/') && this.#beginsInOurs(tid, directory)) return true
    return options.follow && this.#isLink(tid, directory, path)
  }

  #beginsInOurs(tid: number, directory: number): boolean {
    return directory === AT_FDCWD
      ? this.ourWorkingDirectory(tid) !== undefined
      : this.#hostedDirectory(tid, directory) !== undefined
  }

  /** Path of a thread's working directory, if it is one of ours that is nowhere else. */
  ourWorkingDirectory(tid: number): string | undefined {
    if (!this.#workingDirectories.inUse) return undefined
    const shown = this.#readLink(`/proc/${tid}/cwd`)
    return shown === undefined ? undefined : this.#workingDirectories.meaning(shown)
  }

  /** A real directory that stands for one of ours, as a descriptor; negative if none can be had. */
  workingDirectory(directory: Directory): number {
    return this.#workingDirectories.standIn(directory.path, (path) => this.#readLink(path))
  }

  /** The descriptor's directory, if it is one of ours. */
  #hostedDirectory(tid: number, directory: number): HostedFile | undefined {
    if (directory === AT_FDCWD || this.#files.size === 0) return undefined
    const found = this.#tasks.descriptor(tid, directory)
    return found && this.#files.find(found.device, found.inode)
  }

  /** Real symbolic link at the end of a path. */
  #isLink(tid: number, directory: number, path: string): boolean {
    const prefix = path.startsWith('/')
      ? this.rootsMayDiffer
        ? `/proc/${tid}/root`
        : ''
      : directory === AT_FDCWD
        ? `/proc/${tid}/cwd/`
        : `/proc/${tid}/fd/${directory}/`
    return this.#readLink(prefix + path) !== undefined
  }

  #readLink(path: string): string | undefined {
    if (path.length >= 2 * PATH_MAX) return undefined
    for (let i = 0; i < path.length; i++) this.#path.bytes[i] = path.charCodeAt(i)
    this.#path.bytes[path.length] = 0
    const length = this.#sys.call(
      'readlinkat',
      AT_FDCWD,
      this.#path.address,
      this.#target.address,
      PATH_MAX,
    )
    if (length <= 0) return undefined
    return Buffer.from(this.#target.bytes.subarray(0, length)).toString('latin1')
  }

  #walk(tid: number, directory: number, path: string, options: PathOptions): Destination {
    const resolve = options.resolve ?? 0
    const confined = (resolve & (RESOLVE.BENEATH | RESOLVE.IN_ROOT)) !== 0
    const processRoot = this.rootsMayDiffer ? this.#rootOf(tid) : ''
    const start = this.#start(tid, directory)
    const root = confined ? start?.path : processRoot
    if (root === undefined || (start === undefined && !path.startsWith('/'))) return NATIVE
    const absolute = path.startsWith('/')
    if (absolute && (resolve & RESOLVE.BENEATH) !== 0) return error(EXDEV)
    const from = absolute || start === undefined ? { path: root, native: true } : start
    return this.#follow(tid, from, path, { ...options, root, resolve })
  }

  #follow(
    tid: number,
    start: Start,
    path: string,
    options: PathOptions & { root: string; resolve: number },
  ): Destination {
    const { root, resolve } = options
    let at = start.path
    // The kernel can go the same way; it cannot once something is passed that only we know.
    let { native } = start
    let rest = path.split('/').filter((name, i, all) => name !== '' || i === all.length - 1)
    let links = 0
    const isFinal = (): boolean => rest.length === 0
    const enter = (target: string): Destination | undefined => {
      links += 1
      if (links > MAX_LINKS || (resolve & RESOLVE.NO_SYMLINKS) !== 0) return error(Errno.ELOOP)
      if (target.startsWith('/')) {
        if ((resolve & RESOLVE.BENEATH) !== 0) return error(EXDEV)
        at = root
      }
      rest = [...target.split('/').filter((name) => name !== ''), ...rest]
      return undefined
    }
    for (;;) {
      const name = rest.shift()
      if (name === undefined) break
      const here = this.#directory(at)
      if (name === '' || name === '.') continue
      if (name === '..') {
        if (at === root) {
          if ((resolve & RESOLVE.BENEATH) !== 0) return error(EXDEV)
        } else at = at.slice(0, Math.max(0, at.lastIndexOf('/')))
        continue
      }
      const node = here?.entries.get(name)
      if (node?.kind === 'directory') {
        at = node.path
        native &&= this.#real(node.path) !== undefined
        continue
      }
      if (node?.kind === 'link' && (options.follow || !isFinal())) {
        native = false
        const failed = enter(node.target)
        if (failed !== undefined) return failed
        continue
      }
      if (node !== undefined)
        return isFinal() ? { type: 'node', node, path: `${at}/${name}` } : error(Errno.ENOTDIR)
      if (here !== undefined && !this.isReal(here)) return error(Errno.ENOENT)
      const descriptor = this.#descriptor(`${at}/${name}`)
      if (descriptor !== undefined) {
        if ((resolve & (RESOLVE.NO_MAGICLINKS | RESOLVE.NO_SYMLINKS)) !== 0 && options.follow)
          return error(Errno.ELOOP)
        if (descriptor.node?.kind === 'directory' && (!isFinal() || options.follow)) {
          at = descriptor.node.path
          native = false
          continue
        }
        if (!isFinal()) return error(Errno.ENOTDIR)
        return { type: options.follow ? 'descriptor' : 'descriptor-link', hosted: descriptor }
      }
      const itself = isFinal() && !options.follow
      const own = itself ? this.#workingDirectoryLink(`${at}/${name}`) : undefined
      if (own !== undefined)
        return { type: 'node', node: { kind: 'link', target: own }, path: `${at}/${name}` }
      const target = itself ? undefined : this.#linkTarget(tid, at, name)
      if (target === undefined) at = `${at}/${name}`
      else {
        const failed = enter(target)
        if (failed !== undefined) return failed
      }
    }
    const real: Destination = native ? NATIVE : { type: 'real', path: at === '' ? '/' : at }
    const node = this.#directory(at)
    if (node === undefined) {
      const file = this.#proc.find(at)
      return file === undefined ? real : { type: 'node', node: file, path: at }
    }
    if (this.isReal(node)) return real
    return { type: 'node', node, path: at, native: native && this.#real(node.path) !== undefined }
  }

  /** What /proc/PID/cwd should show. */
  #workingDirectoryLink(path: string): string | undefined {
    if (!this.#workingDirectories.inUse || !/^\/proc\/\d+\/(task\/\d+\/)?cwd$/.test(path))
      return undefined
    return this.#workingDirectories.meaning(this.#readLink(path) ?? '')
  }

  /** The overlay's directory at an absolute path. */
  #directory(path: string): Directory | undefined {
    let directory: Directory = this.#tree.root
    for (const name of path.split('/')) {
      if (name === '') continue
      const next = directory.entries.get(name)
      if (next?.kind !== 'directory') return undefined
      directory = next
    }
    return directory
  }

  /** /proc/self and /proc/thread-self mean the caller, whoever reads them. */
  #linkTarget(tid: number, at: string, name: string): string | undefined {
    if (at === '/proc' && (name === 'self' || name === 'thread-self')) {
      const pid = this.#tasks.get(tid)?.process.pid ?? tid
      return name === 'self' ? String(pid) : `${pid}/task/${tid}`
    }
    const shown = this.#readLink(`${at}/${name}`)
    const target = (shown && this.#workingDirectories.meaning(shown)) ?? shown
    // `pipe:[123]` and the like are no paths; the kernel knows what they are.
    return target !== undefined &&
      /^\/proc\/\d+\/(task\/\d+\/)?fd$/.test(at) &&
      !target.startsWith('/')
      ? undefined
      : target
  }

  /** The file of ours behind /proc/PID/fd/N. */
  #descriptor(path: string): HostedFile | undefined {
    const match = /^\/proc\/(?:\d+\/task\/)?(\d+)\/fd\/(\d+)$/.exec(path)
    if (match === null) return undefined
    const found = this.#tasks.descriptorOf(Number(match[1]), Number(match[2]))
    return found === undefined ? undefined : this.#files.find(found.device, found.inode)
  }

  /** Where relative paths of a thread begin; undefined if that cannot be told. */
  #start(tid: number, directory: number): Start | undefined {
    const hosted = this.#hostedDirectory(tid, directory)
    if (hosted !== undefined)
      return hosted.node?.kind === 'directory'
        ? { path: hosted.node.path, native: false }
        : undefined
    const own = directory === AT_FDCWD ? this.ourWorkingDirectory(tid) : undefined
    if (own !== undefined) return { path: own, native: false }
    const link = directory === AT_FDCWD ? `/proc/${tid}/cwd` : `/proc/${tid}/fd/${directory}`
    const target = this.#readLink(link)
    return target === undefined ? undefined : { path: target === '/' ? '' : target, native: true }
  }

  #rootOf(tid: number): string | undefined {
    const root = this.#readLink(`/proc/${tid}/root`)
    return root === '/' ? '' : root
  }

  /** Whether a real directory shows through one of the overlay. */
  isReal(directory: Directory): boolean {
    return !directory.opaque && this.#real(directory.path) !== undefined
  }

  /** The directory of the overlay that is laid over this real directory. */
  overlaid(device: number, inode: InodeKey): Directory | undefined {
    for (const directory of this.#tree.directories()) {
      if (directory.opaque) continue
      const real = this.#real(directory.path)
      if (real !== undefined && real.device === device && real.inode === inode) return directory
    }
    return undefined
  }

  /** What is really at a path of the overlay; the directories in question do not come and go. */
  #real(path: string): { device: number; inode: number } | undefined {
    if (!this.#realDirectories.has(path)) {
      const { PATH, DIRECTORY } = openFlags(this.#sys.arch.name)
      const fd = openPath(this.#sys, path === '' ? '/' : path, PATH | DIRECTORY)
      this.#realDirectories.set(path, fd < 0 ? undefined : this.#files.identity(fd))
      if (fd >= 0) this.#sys.call('close', fd)
    }
    return this.#realDirectories.get(path)
  }
}
