// The npm package openid-client.

import { importJWK } from 'jose'
import * as client from 'openid-client'
import { fetchWithCertificate, settings } from './harness.mjs'
import { run } from './scenario.mjs'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

async function authentication(entry) {
  switch (entry.token_endpoint_auth_method) {
    case 'client_secret_basic': return client.ClientSecretBasic(entry.client_secret)
    case 'client_secret_post': return client.ClientSecretPost(entry.client_secret)
    case 'private_key_jwt': return client.PrivateKeyJwt(await importJWK(entry.private_jwk, 'ES256'))
    case 'tls_client_auth': return client.TlsClientAuth()
    default: return client.None()
  }
}

await run({
  async connect(entry) {
    const options = { algorithm: 'oauth2' }
    if (entry.certificate) options[client.customFetch] = fetchWithCertificate(entry)
    const config = await client.discovery(
      new URL(settings.issuer), entry.client_id, undefined, await authentication(entry), options)
    return {
      config,
      clientCredentials: (parameters, DPoP) => client.clientCredentialsGrant(config, parameters, { DPoP }),
      refresh: (token, DPoP) => client.refreshTokenGrant(config, token, undefined, { DPoP }),
      exchange: (parameters) => client.genericGrantRequest(config, EXCHANGE, parameters),
      introspect: async (token) => ({ ...(await client.tokenIntrospection(config, token)) }),
      revoke: (token) => client.tokenRevocation(config, token),
      async resource(token, DPoP, raw) {
        const url = new URL(settings.resource)
        try {
          return await client.fetchProtectedResource(config, token, url, 'GET', null, undefined, { DPoP })
        } catch (error) {
          if (raw || !error.response) throw error
          return error.response
        }
      },
    }
  },
  key: async ({ config }) => client.getDPoPHandle(config, await client.randomDPoPKeyPair()),
  // openid-client is only a client: what the token is made of, it does not look at.
  isAccessToken: async () => true,
})
