// Every grant, binding, revocation and introspection, in the words of one client library.
//
// A library is an adapter: `connect(entry)` gives a connection of a registered client with
// `clientCredentials`, `refresh`, `exchange`, `introspect`, `revoke` and `resource`;
// `key()` makes a key for DPoP.

import * as dpop from 'dpop'
import { claims, login, report, seen, settings, step, until } from './harness.mjs'

const { clients, user } = settings
const EXCHANGE = 'urn:ietf:params:oauth:token-type:access_token'

/** What the gate and the upstream make of a token. */
async function visit(connection, token, key) {
  const answer = await connection.resource(token, key)
  if (answer.status !== 200) return answer.status
  const body = await answer.json()
  return { subject: seen(body, 'x-wardgate-subject'), authorization: seen(body, 'authorization') }
}

const visitor = (subject) => ({ subject, authorization: null })

async function authentication(adapter) {
  for (const method of ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth']) {
    const entry = clients[method]
    const connection = await adapter.connect(entry)
    let token
    await step(`client_credentials with ${method}`, { type: 'bearer', sub: entry.client_id }, async () => {
      const answer = await connection.clientCredentials({ scope: 'api:read' })
      token = answer.access_token
      return { type: answer.token_type, sub: claims(token).sub }
    })
    await step(`the gate knows who ${method} is`, visitor(entry.client_id), () => visit(connection, token))
  }
  await step('a wrong secret', '401 basic', async () => {
    const wrong = await adapter.connect({ ...clients.client_secret_basic, client_secret: 'wrong' })
    return wrong.clientCredentials({})
  })
  await step('a key that is not the registered one', '401 basic', async () => {
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
    const jwk = await crypto.subtle.exportKey('jwk', pair.privateKey)
    const wrong = await adapter.connect({ ...clients.private_key_jwt, private_jwk: jwk })
    return wrong.clientCredentials({})
  })
  await step('without a certificate', '401 basic', async () => {
    const bare = await adapter.connect({ ...clients.tls_client_auth, certificate: undefined })
    return bare.clientCredentials({})
  })
}

async function boundToCertificate(adapter) {
  const entry = clients.certificate_bound
  const connection = await adapter.connect(entry)
  let token
  await step('a token bound to the certificate', true, async () => {
    token = (await connection.clientCredentials({})).access_token
    return typeof claims(token).cnf?.['x5t#S256'] === 'string'
  })
  await step('it is good with the certificate', visitor(entry.client_id), () => visit(connection, token))
  await step('and refused without', 401, async () => {
    const bare = await adapter.connect({ ...entry, certificate: undefined })
    return (await bare.resource(token)).status
  })
}

async function gate(adapter) {
  const connection = await adapter.connect(clients.client_secret_basic)
  await step('no token', 401, async () => (await fetch(settings.resource)).status)
  await step('an invented token', '401 bearer invalid_token', () => connection.resource('invented', undefined, true))
  await step('a scope that is not registered', '400 invalid_scope', () =>
    connection.clientCredentials({ scope: 'api:everything' }))
  await step('an audience that is not registered', '400 invalid_target', () =>
    connection.clientCredentials({ resource: 'https://elsewhere.example' }))
  await step('the access token is one of RFC 9068', true, () => adapter.isAccessToken(connection))
}

async function refreshing(adapter) {
  const entry = clients.first_party
  const connection = await adapter.connect(entry)
  const secret = { client_id: entry.client_id, client_secret: entry.client_secret }
  let pair, next
  await step('login', { status: 200, type: 'Bearer', sub: user.id, store: 'no-store' }, async () => {
    const { status, headers, body } = await login({ ...secret, name: user.name, password: user.password })
    pair = body
    return { status, type: body.token_type, sub: claims(body.access_token).sub, store: headers.get('cache-control') }
  })
  await step('login with a wrong password', 400, async () => {
    const { status } = await login({ ...secret, name: user.name, password: 'wrong' })
    return status
  })
  await step('the gate knows the user', visitor(user.id), () => visit(connection, pair.access_token))
  await step('refresh_token gives another pair', { rotated: true, sub: user.id }, async () => {
    next = await connection.refresh(pair.refresh_token)
    return { rotated: next.refresh_token !== pair.refresh_token, sub: claims(next.access_token).sub }
  })
  await step('a lost answer is given again', true, async () => {
    const again = await connection.refresh(pair.refresh_token)
    return again.refresh_token === next.refresh_token && again.access_token === next.access_token
  })
  let last
  await step('the successor is good', visitor(user.id), async () => {
    last = await connection.refresh(next.refresh_token)
    return visit(connection, last.access_token)
  })
  await step('a token from before the last is reuse', '400 invalid_grant', () => connection.refresh(pair.refresh_token))
  await step('and ends the family', '400 invalid_grant', () => connection.refresh(last.refresh_token))
  await step('and its access tokens', 401, () => until(401, async () => (await connection.resource(last.access_token)).status))
}

async function revoking(adapter) {
  const entry = clients.first_party
  const connection = await adapter.connect(entry)
  const inspector = await adapter.connect(clients.introspector)
  const { body: pair } = await login({
    client_id: entry.client_id, client_secret: entry.client_secret, name: user.name, password: user.password,
  })
  await step('introspection of an access token', { active: true, sub: user.id, client_id: entry.client_id }, async () => {
    const { active, sub, client_id } = await inspector.introspect(pair.access_token)
    return { active, sub, client_id }
  })
  await step('introspection of a refresh token', { active: true, sub: user.id }, async () => {
    const { active, sub } = await inspector.introspect(pair.refresh_token)
    return { active, sub }
  })
  await step('introspection of nonsense', { active: false }, () => inspector.introspect('nonsense'))
  await step('only who may introspects', true, async () => {
    try {
      return (await connection.introspect(pair.access_token)).active === undefined
    } catch (error) {
      return (error.status ?? error.response?.status) >= 400
    }
  })
  await step('another client revokes nothing', visitor(user.id), async () => {
    // Whether it is told so or not (RFC 7009 §2.1), the token goes on.
    await inspector.revoke(pair.access_token).catch(() => {})
    return visit(connection, pair.access_token)
  })
  await step('revocation of an access token', 401, async () => {
    await connection.revoke(pair.access_token)
    return until(401, async () => (await connection.resource(pair.access_token)).status)
  })
  await step('it is not active', { active: false }, () => inspector.introspect(pair.access_token))
  await step('revocation of a refresh token', '400 invalid_grant', async () => {
    await connection.revoke(pair.refresh_token)
    return connection.refresh(pair.refresh_token)
  })
  await step('revocation of nonsense is no error', null, () => connection.revoke('nonsense'))
}

async function leaving(adapter) {
  const { client_id, client_secret } = clients.first_party
  const connection = await adapter.connect(clients.first_party)
  const { body: pair } = await login({ client_id, client_secret, name: user.name, password: user.password })
  await step('logout', 204, async () => {
    const body = JSON.stringify({ refresh_token: pair.refresh_token })
    const headers = { 'content-type': 'application/json' }
    return (await fetch(`${settings.issuer}/auth/logout`, { method: 'POST', headers, body })).status
  })
  await step('ends the family', '400 invalid_grant', () => connection.refresh(pair.refresh_token))
  await step('and its access tokens', 401, () => until(401, async () => (await connection.resource(pair.access_token)).status))
}

async function exchanging(adapter) {
  const app = clients.first_party
  const service = await adapter.connect(clients.exchanger)
  const { body: pair } = await login({
    client_id: app.client_id, client_secret: app.client_secret, name: user.name, password: user.password,
  })
  const parameters = { subject_token: pair.access_token, subject_token_type: EXCHANGE }
  let narrowed
  await step('token exchange: the user, by the service', { type: EXCHANGE, sub: user.id, scope: 'api:read' }, async () => {
    narrowed = await service.exchange({ ...parameters, scope: 'api:read' })
    const { sub, scope } = claims(narrowed.access_token)
    return { type: narrowed.issued_token_type, sub, scope }
  })
  await step('the gate knows the user', visitor(user.id), () => visit(service, narrowed.access_token))
  await step('with the service as the actor', clients.exchanger.client_id, async () => {
    const own = await service.clientCredentials({})
    const answer = await service.exchange({
      ...parameters, actor_token: own.access_token, actor_token_type: EXCHANGE,
    })
    return claims(answer.access_token).act?.sub
  })
  await step('a scope is never widened', '400 invalid_scope', () =>
    service.exchange({ subject_token: narrowed.access_token, subject_token_type: EXCHANGE, scope: 'api:read api:write' }))
  await step('who may not exchange', '400 unauthorized_client', async () => {
    const other = await adapter.connect(clients.client_secret_basic)
    return other.exchange(parameters)
  })
  await step('an invented subject token', '400 invalid_request', () =>
    service.exchange({ ...parameters, subject_token: 'invented' }))
}

async function bound(adapter) {
  const entry = clients.client_secret_basic
  const connection = await adapter.connect(entry)
  const [key, other] = [await adapter.key(connection), await adapter.key(connection)]
  let token
  await step('DPoP: a token bound to a key', { type: 'dpop', bound: true }, async () => {
    const answer = await connection.clientCredentials({}, key)
    token = answer.access_token
    return { type: answer.token_type, bound: typeof claims(token).cnf?.jkt === 'string' }
  })
  await step('it is good with proofs of the key', visitor(entry.client_id), () => visit(connection, token, key))
  await step('again, with another proof', visitor(entry.client_id), () => visit(connection, token, key))
  await step('not with another key', 401, async () => (await connection.resource(token, other)).status)
  await step('not as a plain bearer', 401, async () => (await connection.resource(token)).status)
  await step('a plain token is not made good by a proof', 401, async () => {
    const plain = (await connection.clientCredentials({})).access_token
    return (await connection.resource(plain, key)).status
  })
}

/** Proofs made by the package `dpop`, without the help of a client library. */
async function provenByHand() {
  const keys = await dpop.generateKeyPair('ES256')
  const entry = clients.public
  let nonces = {}
  const send = async (url, method, { token, body, headers = {}, proof } = {}) => {
    const made = proof ?? (await dpop.generateProof(keys, url, method, nonces[method + url], token))
    const answer = await fetch(url, { method, body, headers: { ...headers, dpop: made } })
    const nonce = answer.headers.get('dpop-nonce')
    if (nonce) nonces[method + url] = nonce
    // Only the first answer may ask for a nonce (RFC 9449 §8, §9).
    return { answer, proof: made, nonce }
  }
  const twice = async (...parameters) => {
    const first = await send(...parameters)
    return first.nonce && first.answer.status !== 200 ? send(...parameters) : first
  }
  const json = { 'content-type': 'application/json' }
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const credentials = JSON.stringify({ client_id: entry.client_id, name: user.name, password: user.password })
  let pair
  await step('a public client logs in with a proof', { status: 200, type: 'DPoP', jkt: await dpop.calculateThumbprint(keys.publicKey) }, async () => {
    const { answer } = await twice(`${settings.issuer}/auth/login`, 'POST', { headers: json, body: credentials })
    pair = await answer.json()
    return { status: answer.status, type: pair.token_type, jkt: claims(pair.access_token).cnf?.jkt }
  })
  const refresh = () => new URLSearchParams({ grant_type: 'refresh_token', client_id: entry.client_id, refresh_token: pair.refresh_token }).toString()
  await step('its refresh token is nobody else\'s', 400, async () =>
    (await fetch(`${settings.issuer}/oauth2/token`, { method: 'POST', headers: form, body: refresh() })).status)
  await step('and good with a proof of its key', 200, async () => {
    const { answer } = await twice(`${settings.issuer}/oauth2/token`, 'POST', { headers: form, body: refresh() })
    pair = await answer.json()
    return answer.status
  })
  let used
  await step('the gate takes a proof', 200, async () => {
    const { answer, proof } = await twice(settings.resource, 'GET', { token: pair.access_token, headers: { authorization: `DPoP ${pair.access_token}` } })
    used = proof
    return answer.status
  })
  await step('and never the same again', 401, async () => {
    const { answer } = await send(settings.resource, 'GET', { proof: used, headers: { authorization: `DPoP ${pair.access_token}` } })
    return answer.status
  })
  await step('nor one for another method', 401, async () => {
    const proof = await dpop.generateProof(keys, settings.resource, 'POST', nonces[`GET${settings.resource}`], pair.access_token)
    const { answer } = await send(settings.resource, 'GET', { proof, headers: { authorization: `DPoP ${pair.access_token}` } })
    return answer.status
  })
}

/** Runs everything and reports. */
export async function run(adapter) {
  await authentication(adapter)
  await boundToCertificate(adapter)
  await gate(adapter)
  await refreshing(adapter)
  await revoking(adapter)
  await leaving(adapter)
  await exchanging(adapter)
  await bound(adapter)
  if (adapter.alsoByHand) await provenByHand()
  report()
}
