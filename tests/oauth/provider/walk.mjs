// Walks through the provider of the example as people and applications do, and counts its events without asking the example.
//
// Each line of standard input names a walk. After it, one line of JSON: how often each event was told of so far, and the secrets that
// were seen, so that others can look whether one of them stands anywhere. At the end of the input everything is sent, and it ends.

import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import assert from 'node:assert/strict';
import { serve } from './provider.mjs';

// The provider's own advice is for people; standard output is for the test.
console.info = console.error;

const CALLBACK = 'https://app.example.com/callback';
const SCOPE = 'openid offline_access documents:read';
const PASSWORD = 'correct-horse-canary';

function key(type, alg, options) {
  return { ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig' };
}

const settings = {
  accounts: { 'alice@example.com': PASSWORD },
  scopes: ['documents:read', 'documents:modify'],
  keys: { keys: [key('rsa', 'RS256', { modulusLength: 2048 })] },
  clients: [{
    client_id: 'app',
    client_secret: 'app-secret-canary',
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    response_types: ['code'],
    redirect_uris: [CALLBACK],
    scope: `${SCOPE}`,
  }],
};

const { provider, stop } = await serve(settings, {
  port: 0,
  address: process.env.GRAVEN_ADDRESS,
  log: 'who',
  stream: 'oidc-provider',
  spool: 'events.spool',
  token: readFileSync(process.env.GRAVEN_TOKEN_FILE, 'utf8').trim(),
});
const { issuer } = provider;

// What the documentation of the provider names, and what the example adds to it.
const MODELS = ['access_token', 'authorization_code', 'client_credentials', 'refresh_token', 'session', 'interaction', 'grant', 'replay_detection'];
const NAMES = [
  ...MODELS.flatMap((model) => ['saved', 'issued', 'destroyed', 'consumed'].map((what) => `${model}.${what}`)),
  'authorization.accepted', 'authorization.error', 'authorization.success', 'end_session.error', 'end_session.success', 'grant.error',
  'grant.revoked', 'grant.success', 'interaction.ended', 'interaction.started', 'introspection.error', 'revocation.error', 'server_error',
  'userinfo.error', 'jwks.error', 'discovery.error', 'error',
  'login.success', 'login.error', 'introspection.success', 'revocation.success', 'userinfo.success',
];
const counts = {};
for (const name of NAMES) provider.on(name, () => { counts[name] = (counts[name] ?? 0) + 1; });

const secrets = new Set([PASSWORD, 'app-secret-canary']);
const kept = {};

// A browser, as far as it takes cookies and follows nowhere by itself.
class Browser {
  #cookies = new Map();

  async go(url, form) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(new URL(url, issuer), {
      method: form ? 'POST' : 'GET',
      body: form && new URLSearchParams(form),
      redirect: 'manual',
      headers: { cookie, 'user-agent': 'walker/1' },
    });
    for (const set of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      this.#cookies.set(name, value);
      if (value.length > 20) secrets.add(value);
    }
    return answer;
  }
}

async function call(path, form, secret = 'app-secret-canary') {
  const basic = Buffer.from(`app:${secret}`).toString('base64');
  const body = new URLSearchParams(form);
  const answer = await fetch(new URL(path, issuer), { method: 'POST', body, headers: { authorization: `Basic ${basic}` } });
  const text = await answer.text();
  const json = text ? JSON.parse(text) : {};
  for (const name of ['access_token', 'refresh_token', 'id_token']) if (json[name]) secrets.add(json[name]);
  return { status: answer.status, ...json };
}

function begin(browser, verifier) {
  const query = new URLSearchParams({
    client_id: 'app', response_type: 'code', redirect_uri: CALLBACK, scope: SCOPE, prompt: 'consent', state: 's',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  });
  return browser.go(`/auth?${query}`);
}

// To the next page that asks something, or out of here.
async function follow(browser, answer) {
  const place = answer.headers.get('location');
  if (answer.status !== 303 || !place.startsWith(issuer)) return place;
  return follow(browser, await browser.go(place));
}

const walks = {
  // A wrong password, the right one, consent, a code, and what it is good for.
  async login() {
    const [browser, verifier] = [new Browser(), randomBytes(32).toString('base64url')];
    const asked = (await begin(browser, verifier)).headers.get('location');
    assert.equal((await browser.go(asked)).status, 200);
    assert.equal((await browser.go(asked, { answer: 'yes', account: 'alice@example.com', password: 'wrong-canary' })).status, 401);
    const resume = await browser.go(asked, { answer: 'yes', account: 'alice@example.com', password: PASSWORD });
    const consent = (await browser.go(resume.headers.get('location'))).headers.get('location');
    const done = await follow(browser, await browser.go(consent, { answer: 'yes' }));
    const code = new URL(done).searchParams.get('code');
    secrets.add(code);
    const form = { grant_type: 'authorization_code', code, redirect_uri: CALLBACK, code_verifier: verifier };
    Object.assign(kept, await call('/token', form));
    assert.equal(kept.status, 200);
    const me = () => fetch(new URL('/me', issuer), { headers: { authorization: `Bearer ${kept.access_token}` } });
    assert.equal((await me()).status, 200);
    kept.me = me;
  },
  // Somebody says no.
  async refuse() {
    const browser = new Browser();
    const asked = (await begin(browser, 'x'.repeat(43))).headers.get('location');
    const done = await follow(browser, await browser.go(asked, { answer: 'no' }));
    assert.equal(new URL(done).searchParams.get('error'), 'access_denied');
  },
  // A new token for an old one; and the old one again, which ends all that came of it.
  async refresh() {
    const form = { grant_type: 'refresh_token', refresh_token: kept.refresh_token };
    Object.assign(kept, await call('/token', form), { old: kept.refresh_token });
    assert.equal(kept.status, 200);
    assert.equal((await call('/token', form)).error, 'invalid_grant');
  },
  // Tokens of the application's own: by the right secret, by a wrong one, and for more than it may have.
  async credentials() {
    const form = { grant_type: 'client_credentials', scope: 'documents:read' };
    kept.own = await call('/token', form);
    assert.equal(kept.own.status, 200);
    assert.equal((await call('/token', form, 'wrong-secret-canary')).error, 'invalid_client');
    assert.equal((await call('/token', { ...form, scope: 'documents:modify' })).error, 'invalid_scope');
  },
  async introspect() {
    const form = { token: kept.own.access_token };
    assert.equal((await call('/token/introspection', form)).active, true);
    assert.equal((await call('/token/introspection', { token: 'unknown' })).active, false);
    assert.equal((await call('/token/introspection', form, 'wrong-secret-canary')).error, 'invalid_client');
  },
  async revoke() {
    assert.equal((await call('/token/revocation', { token: kept.own.access_token })).status, 200);
    assert.equal((await call('/token/introspection', { token: kept.own.access_token })).active, false);
    assert.equal((await call('/token/revocation', { token: 'x' }, 'wrong-secret-canary')).error, 'invalid_client');
    assert.equal((await call('/token/revocation', { token: kept.access_token })).status, 200);
    assert.equal((await kept.me()).status, 401);
  },
  // What a log would refuse must not be lost for that.
  async strange() {
    const form = { grant_type: 'client_credentials', scope: `documents:read ${'x'.repeat(5000)}` };
    assert.equal((await call('/token', form)).status, 200);
    const answer = await fetch(new URL('/auth?client_id=%00%E2%80%AE%F0%9F%92%A5&scope=%22%22', issuer));
    assert.equal(answer.status, 400);
  },
};

console.log(JSON.stringify({ issuer }));
for await (const walk of createInterface({ input: process.stdin })) {
  await walks[walk]();
  console.log(JSON.stringify({ counts, secrets: [...secrets] }));
}
await stop();
console.log(JSON.stringify({ counts, secrets: [...secrets] }));
process.exit();
