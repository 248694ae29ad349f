/** Who gets what from the inspector's server: the browser of this machine that knows the address, and nobody else. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { type InspectorServer, serveRecording } from '../../src/cli/inspector-server.ts'

const directory = mkdtempSync(join(tmpdir(), 'inspector-server-'))
const file = join(directory, 'recording')
let server: InspectorServer

beforeEach(async () => {
  writeFileSync(file, 'first')
  server = await serveRecording({ file, live: true, port: 0 })
})

afterEach(() => {
  server.close()
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** The answer as soon as its headers are there. */
const ask = (url: string, { method = 'GET', headers = {} }: Asked = {}): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    request(url, { method, headers }, resolve).on('error', reject).end()
  })

const statusOf = async (url: string, asked?: Asked): Promise<number | undefined> => {
  const answer = await ask(url, asked)
  answer.destroy()
  return answer.statusCode
}

/** The bytes of the first messages, until there are as many as wanted. */
const follow = async (length: number, from?: number): Promise<string> => {
  const answer = await ask(`${server.url}events`, {
    headers: from === undefined ? {} : { 'last-event-id': String(from) },
  })
  let text = ''
  let got = ''
  for await (const part of answer) {
    text += String(part)
    got = [...text.matchAll(/^data: (.*)\n\n/gm)]
      .map(([, data]) => Buffer.from(data ?? '', 'base64').toString())
      .join('')
    if (got.length >= length) break
  }
  return got
}

it('serves the page and the recording at the address that it tells', async () => {
  const answer = await ask(server.url)
  expect(answer.statusCode).toBe(200)
  expect(answer.headers['content-type']).toContain('text/html')
  expect(answer.headers['content-security-policy']).toContain("default-src 'none'")
  answer.destroy()
  expect(await follow(5)).toBe('first')
})

it('sends what is appended, and to one who comes again only what he has not got', async () => {
  const following = follow(11)
  appendFileSync(file, 'second')
  expect(await following).toBe('firstsecond')
  expect(await follow(6, 5)).toBe('second')
})

it('listens on the loopback interface alone', () => {
  expect(new URL(server.url).hostname).toBe('127.0.0.1')
})

it('refuses who does not know the token', async () => {
  const { origin, pathname } = new URL(server.url)
  expect(await statusOf(`${origin}/`)).toBe(403)
  expect(await statusOf(`${origin}/events`)).toBe(403)
  const other = pathname.replace(/.(?=\/$)/, (last) => (last === 'A' ? 'B' : 'A'))
  expect(await statusOf(`${origin}${other}`)).toBe(403)
})

it('refuses a name that was made to resolve to this machine (DNS rebinding)', async () => {
  const { port } = new URL(server.url)
  const asHost = (host: string) => statusOf(server.url, { headers: { host } })
  expect(await asHost(`evil.example:${port}`)).toBe(403)
  expect(await asHost(`127.0.0.1:${Number(port) + 1}`)).toBe(403)
  expect(await asHost(`localhost:${port}`)).toBe(200)
})

it('refuses a page of another origin, and everything but reading', async () => {
  const crossSite = { headers: { 'sec-fetch-site': 'cross-site' } }
  expect(await statusOf(`${server.url}events`, crossSite)).toBe(403)
  expect(await statusOf(server.url, { method: 'POST' })).toBe(405)
  expect(await statusOf(`${server.url}other`)).toBe(404)
})

it('says when the port is taken', async () => {
  const port = Number(new URL(server.url).port)
  await expect(serveRecording({ file, live: true, port })).rejects.toThrow(/EADDRINUSE/)
})
