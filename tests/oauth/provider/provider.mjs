// A real OpenID provider for the tests: client credentials, DPoP, introspection, revocation, and keys that change.
//
// Prints its address once it listens. `POST /rotate` gives it a new key and takes the old one away. It ends with its
// standard input, so that it never outlives the tests.

import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import Provider from 'oidc-provider';

const AUDIENCE = 'https://log.example.com';
const SCOPES = ['append', 'read', 'admin', 'query', 'audit'].flatMap((permission) =>
  ['audit', 'open', '*'].map((log) => `graven:${permission}:${log}`));

// What clients ask tokens for: the last part says of which kind they are.
const KINDS = {
  [`${AUDIENCE}/es256`]: { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  [`${AUDIENCE}/rs256`]: { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  [`${AUDIENCE}/opaque`]: { accessTokenFormat: 'opaque' },
};

function key(type, alg, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID() };
}

function client(id, more) {
  return {
    client_id: id,
    client_secret: `${id}-secret`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    ...more,
  };
}

function provider(issuer) {
  return new Provider(issuer, {
    clients: [client('producer'), client('graven', { grant_types: [] })],
    scopes: SCOPES,
    jwks: { keys: [key('ec', 'ES256', { namedCurve: 'P-256' }), key('rsa', 'RS256', { modulusLength: 2048 })] },
    ttl: { ClientCredentials: 600 },
    enabledJWA: { dPoPSigningAlgValues: ['ES256', 'EdDSA', 'RS256'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'graven' },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(ctx, resource) {
          const audience = resource.startsWith(AUDIENCE) ? AUDIENCE : resource;
          return { audience, scope: SCOPES.join(' '), ...(KINDS[resource] ?? KINDS[`${AUDIENCE}/es256`]) };
        },
      },
    },
  });
}

let answer;
const server = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    answer = provider(issuer).callback();
    response.end();
  } else {
    answer(request, response);
  }
});
let issuer;
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  answer = provider(issuer).callback();
  console.log(issuer);
});
process.stdin.resume().on('end', () => process.exit());
