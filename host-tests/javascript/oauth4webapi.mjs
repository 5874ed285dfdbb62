// The npm package oauth4webapi.

import { importJWK } from 'jose'
import * as oauth from 'oauth4webapi'
import { fetchWithCertificate, settings } from './harness.mjs'
import { run } from './scenario.mjs'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

async function authentication(entry) {
  switch (entry.token_endpoint_auth_method) {
    case 'client_secret_basic': return oauth.ClientSecretBasic(entry.client_secret)
    case 'client_secret_post': return oauth.ClientSecretPost(entry.client_secret)
    case 'private_key_jwt': return oauth.PrivateKeyJwt(await importJWK(entry.private_jwk, 'ES256'))
    case 'tls_client_auth': return oauth.TlsClientAuth()
    default: return oauth.None()
  }
}

/** The library leaves it to its caller to repeat a request that was answered with a nonce. */
async function withNonce(DPoP, send) {
  try {
    return await send()
  } catch (error) {
    if (DPoP && oauth.isDPoPNonceError(error)) return send()
    throw error
  }
}

const issuer = new URL(settings.issuer)
const server = await oauth
  .processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }))

await run({
  alsoByHand: true,
  async connect(entry) {
    const client = { client_id: entry.client_id }
    const proof = await authentication(entry)
    const options = entry.certificate ? { [oauth.customFetch]: fetchWithCertificate(entry) } : {}
    return {
      client,
      clientCredentials: (parameters, DPoP) => withNonce(DPoP, async () =>
        oauth.processClientCredentialsResponse(server, client,
          await oauth.clientCredentialsGrantRequest(server, client, proof, parameters, { ...options, DPoP }))),
      refresh: (token, DPoP) => withNonce(DPoP, async () =>
        oauth.processRefreshTokenResponse(server, client,
          await oauth.refreshTokenGrantRequest(server, client, proof, token, { ...options, DPoP }))),
      exchange: async (parameters) =>
        oauth.processGenericTokenEndpointResponse(server, client,
          await oauth.genericTokenEndpointRequest(server, client, proof, EXCHANGE, parameters, options)),
      introspect: async (token) => ({
        ...(await oauth.processIntrospectionResponse(server, client,
          await oauth.introspectionRequest(server, client, proof, token, options))),
      }),
      revoke: async (token) =>
        oauth.processRevocationResponse(await oauth.revocationRequest(server, client, proof, token, options)),
      async resource(token, DPoP, raw) {
        try {
          return await withNonce(DPoP, () => oauth.protectedResourceRequest(
            token, 'GET', new URL(settings.resource), undefined, null, { ...options, DPoP }))
        } catch (error) {
          if (raw || !error.response) throw error
          return error.response
        }
      },
    }
  },
  key: async ({ client }) => oauth.DPoP(client, await oauth.generateKeyPair('ES256')),
  async isAccessToken(connection) {
    const { access_token: token } = await connection.clientCredentials({})
    const request = new Request(settings.resource, { headers: { authorization: `Bearer ${token}` } })
    const found = await oauth.validateJwtAccessToken(server, request, settings.audience)
    return found.client_id === connection.client.client_id
  },
})
