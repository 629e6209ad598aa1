// openid-client as the client and jose as the service that verifies; started by client.py, which
// has made the keys.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

import * as jose from 'jose'
import * as oauth from 'openid-client'

const { ISSUER, BINARY, CONFIG, REPORT, INTRANET, DOCS: DOCS_KEY, WEB } = process.env
const DOCS = 'https://docs.example'
const WIKI = 'https://wiki.example'
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

const ALICE = {
  ip: '10.10.4.7',
  user_agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  device: { id: 'alice-laptop' },
}

/** The client of an API key, by the issuer's metadata. */
async function client(key) {
  const [id, secret] = key.split('.')
  return oauth.discovery(new URL(ISSUER), id, secret, oauth.ClientSecretBasic(secret), {
    algorithm: 'oauth2',
    // The engine of the test listens on a loopback address.
    execute: [oauth.allowInsecureRequests],
  })
}

const report = await client(REPORT)
const intranet = await client(INTRANET)
const docs = await client(DOCS_KEY)
const web = await client(WEB)
const keys = jose.createRemoteJWKSet(new URL(report.serverMetadata().jwks_uri), {
  cooldownDuration: 0,
})

/** As a service does that knows the issuer and itself. */
async function verify(token, audience) {
  const { payload, protectedHeader } = await jose.jwtVerify(token, keys, {
    issuer: ISSUER,
    audience,
    typ: 'at+jwt',
    algorithms: ['ES256'],
    requiredClaims: ['iss', 'sub', 'aud', 'client_id', 'iat', 'exp', 'jti'],
  })
  return { ...payload, kid: protectedHeader.kid }
}

/** Alice has signed in at the web application, which opens a session for her. */
async function openSession() {
  const answer = await fetch(`${ISSUER}/v1/sessions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${WEB}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      subject: { type: 'User', id: 'alice' },
      context: { ...ALICE, token: { audience: WIKI, scope: ['read'] } },
    }),
  })
  assert.equal(answer.status, 201)
  return answer.json()
}

const asked = { audience: DOCS, scope: 'read' }

const stories = {
  async 'a service gets a token for itself'() {
    const got = await oauth.clientCredentialsGrant(report, asked)
    assert.equal(got.token_type, 'bearer')
    const claims = await verify(got.access_token, DOCS)
    assert.equal(claims.sub, 'Service/nightly-report')
    await assert.rejects(verify(got.access_token, WIKI), { claim: 'aud' })
    await assert.rejects(oauth.clientCredentialsGrant(report, { scope: 'read' }), {
      error: 'invalid_target',
    })
  },

  async 'a session is refreshed, and its token exchanged'() {
    const { id, token } = await openSession()
    const again = await oauth.refreshTokenGrant(web, token.refresh_token)
    assert.notEqual(again.refresh_token, token.refresh_token)
    assert.equal((await verify(again.access_token, WIKI)).sid, id)
    const got = await oauth.genericGrantRequest(intranet, EXCHANGE, {
      ...asked,
      subject_token: again.access_token,
      subject_token_type: ACCESS_TOKEN,
    })
    const claims = await verify(got.access_token, DOCS)
    assert.equal(claims.sub, 'User/alice')
    assert.equal(claims.act.sub, 'Service/intranet')
  },

  async 'a token is introspected and revoked'() {
    const got = await oauth.clientCredentialsGrant(report, asked)
    const told = await oauth.tokenIntrospection(docs, got.access_token)
    assert.equal(told.active, true)
    await oauth.tokenRevocation(report, got.access_token)
    assert.deepEqual(await oauth.tokenIntrospection(docs, got.access_token), { active: false })
  },

  async 'DPoP from end to end'() {
    const pair = await oauth.randomDPoPKeyPair('ES256')
    const DPoP = oauth.getDPoPHandle(web, pair)
    const own = { audience: ISSUER, scope: 'evaluate access' }
    const got = await oauth.clientCredentialsGrant(web, own, { DPoP })
    assert.equal(got.token_type, 'dpop')
    const claims = await verify(got.access_token, ISSUER)
    const jwk = await jose.exportJWK(pair.publicKey)
    assert.equal(claims.cnf.jkt, await jose.calculateJwkThumbprint(jwk))

    // The engine itself is the service that the token is for.
    const url = new URL(`${ISSUER}/access/v1/evaluation`)
    const json = { 'content-type': 'application/json' }
    const question = JSON.stringify({
      subject: { type: 'User', id: 'alice' },
      action: { name: 'read' },
      resource: { type: 'Document', id: 'handbook' },
      context: ALICE,
    })
    const ask = (handle) =>
      oauth.fetchProtectedResource(
        web, got.access_token, url, 'POST', question, new Headers(json), { DPoP: handle },
      )
    const answer = await ask(DPoP)
    assert.equal(answer.status, 200)
    assert.equal((await answer.json()).decision, true)

    // Without its proof it is worth nothing, nor with that of another key.
    const refused = await fetch(url, {
      method: 'POST',
      headers: { ...json, authorization: `Bearer ${got.access_token}` },
      body: question,
    })
    assert.equal(refused.status, 401)
    assert.match(refused.headers.get('www-authenticate'), /^Bearer .*error="invalid_token"/)
    const thief = oauth.getDPoPHandle(web, await oauth.randomDPoPKeyPair('ES256'))
    await assert.rejects(ask(thief), (error) => {
      assert.equal(error.response.status, 401)
      assert.match(error.response.headers.get('www-authenticate'), /^DPoP .*invalid_dpop_proof/)
      return true
    })

    // A proof counts once.
    const proof = await new jose.SignJWT({
      htm: 'POST',
      htu: url.href,
      jti: crypto.randomUUID(),
      ath: jose.base64url.encode(
        new Uint8Array(
          await crypto.subtle.digest('SHA-256', new TextEncoder().encode(got.access_token)),
        ),
      ),
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
      .setIssuedAt()
      .sign(pair.privateKey)
    const once = () =>
      fetch(url, {
        method: 'POST',
        headers: { ...json, authorization: `DPoP ${got.access_token}`, dpop: proof },
        body: question,
      })
    assert.equal((await once()).status, 200)
    assert.equal((await once()).status, 401)
  },

  async 'the signing key is rotated under its feet'() {
    const before = (await oauth.clientCredentialsGrant(report, asked)).access_token
    const { kid } = await verify(before, DOCS)
    execFileSync(BINARY, ['--config', CONFIG, 'signing-keys', 'rotate', '--now'], {
      stdio: 'ignore',
    })
    for (let round = 0; ; round += 1) {
      assert.ok(round < 100, 'the new key does not sign')
      const after = (await oauth.clientCredentialsGrant(report, asked)).access_token
      if ((await verify(after, DOCS)).kid !== kid) break
      await sleep(100)
    }
    await verify(before, DOCS)
  },
}

for (const [name, story] of Object.entries(stories)) {
  await story()
  console.log(`openid-client, jose: ${name} ... ok`)
}
