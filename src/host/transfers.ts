/** read, write and their relatives, and other calls that a character device answers in its own way (01 §3, 02 §1.3). */
import type { FileOffset, UserVa } from '../abi/brands.ts'
import { Errno } from '../abi/errno.ts'
import type { OpenFile } from '../engine/file.ts'
import { Later } from '../engine/later.ts'
import { Refusal, type Result } from '../engine/reason.ts'
import type { SyscallName } from './arch.ts'
import { rewind } from './directories.ts'
import { hostedFile } from './hosted-file.ts'
import type { TextFile } from './hosted-system.ts'
import type { HostedFile } from './open-files.ts'
import { type Handler, reportAnswered, type Server } from './server.ts'

const MAX_TRANSFER = 0x7fff_f000
const MAX_IOVECS = 1024
/** A file of /sys takes no more at once. */
const MAX_TEXT = 4096

type Direction = 'read' | 'write'

/** Only what is ours and answers calls itself; anything else is the kernel's. */
const onFile =
  (handler: (server: Server, file: OpenFile, hosted: HostedFile) => void): Handler =>
  (server) => {
    const hosted = hostedFile(server, server.notifications.int(0))
    if (hosted?.pathOnly) server.notifications.fail(Errno.EBADF)
    else if (hosted?.file === undefined) server.notifications.proceed()
    else handler(server, hosted.file, hosted)
  }

/** What a text file does not answer itself, the kernel does. */
const isKernels = (hosted: HostedFile, operation?: 'read' | 'write' | 'pread' | 'pwrite') =>
  hosted.node?.kind === 'text' &&
  (operation === undefined || hosted.file?.[operation] === undefined)

const lacks = (file: OpenFile, direction: Direction): boolean =>
  file.mode !== 'read-write' && file.mode !== direction

const reply = (server: Server, result: number | Refusal, negative: boolean): void => {
  if (result instanceof Refusal) server.notifications.fail(result.errno)
  else if (negative) server.notifications.fail(-result)
  else server.notifications.succeed(result)
}

/** Errno values of checks that the kernel makes before it asks the file are plain negative numbers here. */
const answer = (
  server: Server,
  file: OpenFile,
  operation: Direction,
  count: number,
  result: Result<number>,
): void => {
  reply(server, result, !(result instanceof Refusal) && result < 0)
  if (result instanceof Refusal || result >= 0)
    reportAnswered(server, { operation, file: file.linkText, argument: BigInt(count), result })
}

const one = (
  { call }: Server,
  file: OpenFile,
  direction: Direction,
  buffer: bigint,
  count: number,
  offset: bigint | undefined,
): Result<number> => {
  const at = buffer as UserVa
  if (offset === undefined) return file[direction]?.(call, at, count) ?? -Errno.EINVAL
  const positioned = direction === 'read' ? 'pread' : 'pwrite'
  return file[positioned]?.(call, at, count, offset as FileOffset) ?? -Errno.EINVAL
}

interface Piece {
  readonly base: bigint
  readonly length: number
}

/** The node, if it takes what is written to it. */
const writtenText = ({ node }: HostedFile): TextFile | undefined =>
  node?.kind === 'text' && node.write !== undefined ? node : undefined

/** A file of /sys takes what is written in one piece, and may let the caller wait. */
const writeText = (server: Server, node: TextFile, pieces: readonly Piece[]): void => {
  const { notifications, tree } = server
  const bytes = gathered(server, pieces)
  const result = bytes === undefined ? -Errno.EFAULT : (node.write?.(bytes) ?? -Errno.EIO)
  tree.changed()
  if (!(result instanceof Later)) {
    reply(server, result, !(result instanceof Refusal) && result < 0)
    return
  }
  const answerLater = notifications.defer()
  result.when((done) => {
    tree.changed()
    answerLater(done instanceof Refusal ? -done.errno : done)
  })
}

/** At most what a file of /sys takes; undefined where it cannot be read. */
const gathered = ({ memory }: Server, pieces: readonly Piece[]): Uint8Array | undefined => {
  const parts: Uint8Array[] = []
  let left = MAX_TEXT
  for (const { base, length } of pieces) {
    const part = memory.read(base as UserVa, Math.min(length, left))
    if (part.length < Math.min(length, left)) return undefined
    parts.push(part)
    left -= part.length
  }
  return Buffer.concat(parts)
}

/** One buffer; with an offset argument if `positioned`. */
const single = (direction: Direction, positioned: boolean): Handler =>
  onFile((server, file, hosted) => {
    const { notifications } = server
    if (isKernels(hosted, positioned ? `p${direction}` : direction)) {
      notifications.proceed()
      return
    }
    const text = direction === 'write' ? writtenText(hosted) : undefined
    if (text !== undefined) {
      const length = Number(notifications.argument(2))
      if (lacks(file, direction)) notifications.fail(Errno.EBADF)
      else writeText(server, text, [{ base: notifications.argument(1), length }])
      return
    }
    const offset = positioned ? BigInt.asIntN(64, notifications.argument(3)) : undefined
    const wanted = notifications.argument(2)
    const count = wanted > BigInt(MAX_TRANSFER) ? MAX_TRANSFER : Number(wanted)
    let result: Result<number>
    if (offset !== undefined && offset < 0n) result = -Errno.EINVAL
    else if (lacks(file, direction)) result = -Errno.EBADF
    else if (wanted >= 1n << 63n) result = -Errno.EINVAL
    else result = one(server, file, direction, notifications.argument(1), count, offset)
    answer(server, file, direction, count, result)
  })

/** Several buffers: each is a transfer of its own, up to the first that is not complete. */
const vector = (direction: Direction, positioned: boolean): Handler =>
  onFile((server, file, hosted) => {
    const { notifications } = server
    if (isKernels(hosted, positioned ? `p${direction}` : direction)) {
      notifications.proceed()
      return
    }
    let offset = positioned ? BigInt.asIntN(64, notifications.argument(3)) : undefined
    // preadv2 and pwritev2: -1 is the file's own position.
    if (offset === -1n && notifications.nr !== server.sys.arch.nr.preadv) offset = undefined
    const vectors = readVectors(server, notifications.argument(1), notifications.int(2))
    const text = direction === 'write' ? writtenText(hosted) : undefined
    if (lacks(file, direction)) notifications.fail(Errno.EBADF)
    else if (typeof vectors === 'number') notifications.fail(-vectors)
    else if (text !== undefined) writeText(server, text, vectors)
    else {
      const result = each(vectors, (buffer, count, done) =>
        one(server, file, direction, buffer, count, offset && offset + BigInt(done)),
      )
      answer(server, file, direction, 0, result)
    }
  })

const each = (
  vectors: readonly Piece[],
  transfer: (buffer: bigint, count: number, done: number) => Result<number>,
): Result<number> => {
  let done = 0
  for (const { base, length } of vectors) {
    const result = transfer(base, length, done)
    if (result instanceof Refusal || result < 0) return done > 0 ? done : result
    done += result
    if (result < length) break
  }
  return done
}

const readVectors = ({ memory }: Server, address: bigint, count: number): Piece[] | number => {
  if (count < 0 || count > MAX_IOVECS) return -Errno.EINVAL
  const bytes = memory.read(address as UserVa, 16 * count)
  if (bytes.length < 16 * count) return -Errno.EFAULT
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const vectors = []
  for (let i = 0; i < count; i++) {
    const length = view.getBigUint64(16 * i + 8, true)
    if (length >= 1n << 63n) return -Errno.EINVAL
    vectors.push({
      base: view.getBigUint64(16 * i, true),
      length: length > BigInt(MAX_TRANSFER) ? MAX_TRANSFER : Number(length),
    })
  }
  return vectors
}

const refuses = (errno: number): Handler =>
  onFile(({ notifications }, _file, hosted) => {
    if (isKernels(hosted)) notifications.proceed()
    else notifications.fail(errno)
  })

const noSeek = refuses(Errno.ESPIPE)

const lseek: Handler = (server) => {
  rewind(server, server.notifications.int(0))
  noSeek(server)
}

export const transferCalls: Partial<Record<SyscallName, Handler>> = {
  read: single('read', false),
  write: single('write', false),
  pread64: single('read', true),
  pwrite64: single('write', true),
  readv: vector('read', false),
  writev: vector('write', false),
  preadv: vector('read', true),
  pwritev: vector('write', true),
  preadv2: vector('read', true),
  pwritev2: vector('write', true),
  lseek,
  fsync: refuses(Errno.EINVAL),
  fdatasync: refuses(Errno.EINVAL),
  ftruncate: refuses(Errno.EINVAL),
  fallocate: refuses(Errno.ENODEV),
}
