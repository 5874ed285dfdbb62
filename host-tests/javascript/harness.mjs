// What all clients share: settings in, a report of steps out.

import { readFileSync } from 'node:fs'
import https from 'node:https'
import { isDeepStrictEqual } from 'node:util'

/** Addresses, clients and users, written to the standard input by the test. */
export const settings = JSON.parse(readFileSync(0, 'utf8'))

const steps = []

/** Does something, and notes what was expected and what came. */
export async function step(name, expected, act) {
  let got
  try {
    got = (await act()) ?? null
  } catch (error) {
    got = refusal(error)
  }
  steps.push({ step: name, expected, got, passed: isDeepStrictEqual(got, expected) })
}

/** Writes the report to the standard output. */
export function report() {
  process.stdout.write(JSON.stringify(steps))
}

/** An error of the libraries in one line: the status with what an OAuth server may say. */
export function refusal(error) {
  if (Array.isArray(error.cause) && error.cause[0]?.scheme) {
    const [{ scheme, parameters }] = error.cause
    return [error.status ?? error.response?.status, scheme, parameters.error].filter(Boolean).join(' ')
  }
  if (error.error) return `${error.status} ${error.error}`
  return [error.name, error.code, error.message, error.cause?.message].filter(Boolean).join(': ')
}

/** Asks until the answer is the expected one, and gives the last. */
export async function until(expected, ask) {
  const deadline = Date.now() + 30_000
  for (;;) {
    const got = await ask()
    if (isDeepStrictEqual(got, expected) || Date.now() > deadline) return got
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** The claims of a JWT, unverified: only to look at. */
export function claims(token) {
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString())
}

/** A header that reached the upstream, which answers with what it saw. */
export function seen(body, name) {
  return body.headers.find(([known]) => known === name)?.[1] ?? null
}

/** `fetch` with a client certificate, which the one of Node.js cannot have. */
export function fetchWithCertificate({ certificate, key }) {
  const agent = new https.Agent({ cert: certificate, key, ca: readFileSync(settings.ca), keepAlive: false })
  return (url, { method = 'GET', headers = {}, body } = {}) =>
    new Promise((resolve, reject) => {
      const fields = Object.fromEntries(new Headers(headers).entries())
      const request = https.request(url, { agent, method, headers: fields }, (answer) => {
        const parts = []
        answer.on('data', (part) => parts.push(part))
        answer.on('error', reject)
        answer.on('end', () => {
          const { statusCode: status, rawHeaders: raw } = answer
          const pairs = raw.flatMap((name, index) => (index % 2 ? [] : [[name, raw[index + 1]]]))
          resolve(new Response(parts.length ? Buffer.concat(parts) : null, { status, headers: pairs }))
        })
      })
      request.on('error', reject)
      request.end(body === undefined || body === null ? undefined : body.toString())
    })
}

/** Logs a user in by the interface for first-party applications. */
export async function login(body, headers = {}) {
  const answer = await fetch(`${settings.issuer}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return { status: answer.status, headers: answer.headers, body: await answer.json() }
}
