// A service behind the gate: who asks stands in headers that only the gate writes.

import express from 'express'

/** Who the gate says is asking. Values are percent-encoded, so that no name can break a header. */
function caller(request, response, next) {
  const one = (name) => {
    const value = request.get(`x-wardgate-${name}`)
    return value === undefined ? null : decodeURIComponent(value)
  }
  const several = (name, separator) => {
    const items = (request.get(`x-wardgate-${name}`) ?? '').split(separator).filter(Boolean)
    return new Set(items.map(decodeURIComponent))
  }
  if (one('auth') === null) {
    // The gate always says how it authenticated. Who got here without it went around Envoy.
    return response.status(500).json({ detail: 'this service must be reached through the gate' })
  }
  response.locals.caller = {
    kind: one('auth'),
    issuer: one('issuer'),
    subject: one('subject'),
    roles: several('roles', ','),
    scopes: several('scopes', ' '),
  }
  next()
}

const app = express()
app.use(caller)

app.get('/things/:thing', (request, response) => {
  const { issuer, subject, roles } = response.locals.caller
  // A user is issuer and subject together: another issuer may have a user of the same name.
  response.json({ thing: request.params.thing, owner: [issuer, subject], may_edit: roles.has('editor') })
})

// A Unix socket that only Envoy may open: nobody can go around the gate.
app.listen(process.env.SERVICE_SOCKET)
