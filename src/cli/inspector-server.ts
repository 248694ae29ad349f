/**
 * Serves the inspector's page and one recording, which may still grow, to this machine's own browser:
 * read-only, on the loopback interface, to whoever knows the token in the address.
 *
 * A page of another origin can neither guess the token nor, by a name that it makes resolve to this
 * machine (DNS rebinding), get past the check of the Host header.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { builtFile } from '../host/built-file.ts'

const LOOPBACK = '127.0.0.1'
/** Bytes of one message: a page that follows a long recording draws in between. */
const PIECE = 1 << 18
/** Milliseconds between looks at whether the recording has grown. */
const LOOK = 50

export interface InspectorServer {
  readonly url: string
  /** Pages that follow the recording now. */
  readonly followers: number
  close(): void
}

export interface ServedRecording {
  /** It must exist; what is appended later is sent as it comes. */
  readonly file: string
  /** A run is still writing it. */
  readonly live: boolean
  /** 0 for a free one. */
  readonly port: number
}

/** Rejects where the file cannot be opened or the port is taken. */
export const serveRecording = async (recording: ServedRecording): Promise<InspectorServer> => {
  const fd = openSync(recording.file, 'r')
  const page = readFileSync(builtFile('inspector/index.html'))
  const token = randomBytes(24).toString('base64url')
  const followers = new Set<Follower>()
  const server = createServer((request, response) => {
    const path = allowedPath(request, token, port())
    if (path === undefined) refuse(response, 403, 'The address is not the one that was printed.')
    else if (request.method !== 'GET')
      refuse(response, 405, 'There is only something to read here.')
    else if (path === '/') sendPage(response, page)
    else if (path === '/events') {
      const follower = new Follower(fd, recording.live, request, response)
      followers.add(follower)
      response.on('close', () => {
        follower.stop()
        followers.delete(follower)
      })
    } else refuse(response, 404, 'There is nothing of that name.')
  })
  const port = (): number => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : recording.port
  }
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(recording.port, LOOPBACK, resolve)
    })
  } catch (error) {
    closeSync(fd)
    throw error
  }
  return {
    url: `http://${LOOPBACK}:${port()}/${token}/${recording.live ? '' : '?kind=recording'}`,
    get followers() {
      return followers.size
    },
    close: () => {
      for (const follower of followers) follower.stop()
      server.close()
      server.closeAllConnections()
      closeSync(fd)
    },
  }
}

/** What the request asks for behind the token; undefined for who may not ask. */
const allowedPath = (
  { headers, url = '' }: IncomingMessage,
  token: string,
  port: number,
): string | undefined => {
  if (headers.host !== `${LOOPBACK}:${port}` && headers.host !== `localhost:${port}`)
    return undefined
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return undefined
  const [path = ''] = url.split('?')
  const given = Buffer.from(path.slice(1, 1 + token.length))
  const known = Buffer.from(token)
  if (given.length !== known.length || !timingSafeEqual(given, known)) return undefined
  return path.slice(1 + token.length)
}

const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
} as const

const POLICY =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const refuse = (response: ServerResponse, status: number, sentence: string): void => {
  response.writeHead(status, { ...HEADERS, 'content-type': 'text/plain; charset=utf-8' })
  response.end(`${sentence}\n`)
}

const sendPage = (response: ServerResponse, page: Buffer): void => {
  response.writeHead(200, {
    ...HEADERS,
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': POLICY,
  })
  response.end(page)
}

/** One page, which is sent the recording as server-sent events; the ID of each is how far it reaches. */
class Follower {
  readonly #fd: number
  readonly #live: boolean
  readonly #response: ServerResponse
  readonly #piece = Buffer.alloc(PIECE)
  #at: number
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(fd: number, live: boolean, request: IncomingMessage, response: ServerResponse) {
    this.#fd = fd
    this.#live = live
    this.#response = response
    const reached = Number(request.headers['last-event-id'] ?? 0)
    this.#at = Number.isSafeInteger(reached) && reached >= 0 ? reached : 0
    response.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream; charset=utf-8' })
    response.flushHeaders()
    this.#send()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#response.end()
  }

  readonly #send = (): void => {
    while (!this.#stopped) {
      const length = readSync(this.#fd, this.#piece, 0, PIECE, this.#at)
      if (length === 0) {
        this.#atEnd()
        return
      }
      this.#at += length
      const data = this.#piece.toString('base64', 0, length)
      if (!this.#response.write(`id: ${this.#at}\ndata: ${data}\n\n`)) {
        this.#response.once('drain', this.#send)
        return
      }
    }
  }

  #atEnd(): void {
    if (this.#live) this.#timer = setTimeout(this.#look, LOOK)
    else this.#response.write('event: end\ndata: \n\n')
  }

  readonly #look = (): void => {
    if (fstatSync(this.#fd).size > this.#at) this.#send()
    else this.#timer = setTimeout(this.#look, LOOK)
  }
}
