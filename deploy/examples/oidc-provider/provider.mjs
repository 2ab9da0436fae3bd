// An OpenID provider whose every event is in a log of events: logins, consents, grants, refreshes, revocations, errors.
//
// An event is on this machine's disk before whoever caused it is answered, under a number of its own, and goes to the log in the order of
// these numbers until the log has it. So none is lost where the provider, the log or the way between them fails; and none is there
// twice, since the log takes each number once. README.md says how to run it, and what its variables are.

import { createHash } from 'node:crypto';
import { fdatasyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import Provider, { errors } from 'oidc-provider';

// ---------------------------------------------------------------------------------------------------------------- the log

const PROTO = process.env.GRAVEN_PROTO ?? fileURLToPath(new URL('../../../proto', import.meta.url));
// What the log takes of a text, of a list, and of one call.
const [MAX_TEXT_BYTES, MAX_ITEMS, MAX_BATCH] = [1024, 64, 128];
const CALL_MS = 10_000;
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [100, 5_000];

// Events on their way: one line of JSON each, in a file that only grows until all of it is in the log.
class Spool {
  constructor(path) {
    this.file = openSync(path, 'a+', 0o600);
    const lines = readFileSync(this.file, 'utf8').split('\n');
    // A line that was cut off belongs to a request that nobody answered.
    const whole = lines.slice(0, -1);
    ftruncateSync(this.file, Buffer.byteLength(whole.map((line) => `${line}\n`).join('')));
    this.waiting = whole.map((line) => JSON.parse(line));
  }

  // Throws where it cannot be written: then the request that it tells of fails too.
  add(numbered) {
    writeSync(this.file, `${JSON.stringify(numbered)}\n`);
    fdatasyncSync(this.file);
    this.waiting.push(numbered);
  }

  recorded(count) {
    this.waiting.splice(0, count);
    if (this.waiting.length === 0) ftruncateSync(this.file, 0);
  }
}

// Takes events from the spool to `AuditService`, one call at a time.
export class Forwarder {
  #audit;
  #metadata = new grpc.Metadata();
  #log;
  #stream;
  #spool;
  #next;
  #wake = () => {};
  #running;
  #stopping = false;

  // `stream` names this producer's numbers: each process that runs at the same time needs a stream and a spool of its own.
  constructor({ address, log, stream, spool, token, ca }) {
    const options = { keepCase: true, longs: Number, enums: String, defaults: true, includeDirs: [PROTO] };
    const { graven } = grpc.loadPackageDefinition(loadSync('graven/v1/audit_service.proto', options));
    // Without TLS a token is for everybody on the way, so it stays on this machine.
    const isHere = /^(localhost|127\.0\.0\.1|\[::1\]):/.test(address);
    if (!ca && !isHere) throw new Error(`${address} is not on this machine: GRAVEN_CA is needed`);
    const credentials = ca ? grpc.credentials.createSsl(ca) : grpc.credentials.createInsecure();
    this.#audit = new graven.v1.AuditService(address, credentials);
    if (token) this.#metadata.set('authorization', `Bearer ${token}`);
    [this.#log, this.#stream, this.#spool] = [log, stream, new Spool(spool)];
  }

  // Finds out where the numbers stand, and begins. It waits for the log: a number that was used before must not be used again.
  async start() {
    const request = { log: this.#log, stream: this.#stream };
    const { last_sequence: last } = await this.#patiently(() => this.#call('GetProducer', request));
    this.#next = Math.max(last, this.#spool.waiting.at(-1)?.number ?? 0) + 1;
    this.#running = this.#run();
  }

  // Writes an event down, before it returns.
  add(event) {
    this.#spool.add({ number: this.#next, event });
    this.#next += 1;
    this.#wake();
  }

  // Ends once everything is in the log.
  async stop() {
    this.#stopping = true;
    this.#wake();
    await this.#running;
    this.#audit.close();
  }

  async #run() {
    while (!this.#stopping || this.#spool.waiting.length > 0) {
      if (this.#spool.waiting.length === 0) {
        await new Promise((resolve) => { this.#wake = resolve; });
        continue;
      }
      const some = this.#spool.waiting.slice(0, MAX_BATCH);
      await this.#record(some);
      this.#spool.recorded(some.length);
    }
  }

  async #record(some) {
    const [{ number: sequence }] = some;
    const events = some.map(({ event }) => event);
    const request = { log: this.#log, events, producer: { stream: this.#stream, sequence } };
    try {
      await this.#patiently(() => this.#call('RecordBatch', request));
    } catch (error) {
      // ALREADY_EXISTS: it was recorded, so long ago that the log no longer compares it.
      if (error.code === grpc.status.ALREADY_EXISTS && some.length === 1) return;
      if (some.length > 1) {
        for (const one of some) await this.#record([one]);
      } else {
        // The log says of the event itself that it is none: its number must not stay empty.
        console.error(`event ${sequence} was refused: ${error.details}`);
        await this.#patiently(() => this.#call('RecordBatch', { ...request, events: [bare(events[0])] }));
      }
    }
  }

  // Until it is answered, or refused for what it says.
  async #patiently(call) {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        return await call();
      } catch (error) {
        if ([grpc.status.INVALID_ARGUMENT, grpc.status.ALREADY_EXISTS].includes(error.code)) throw error;
        console.error(`the log does not answer: ${error.message}`);
        await new Promise((resolve) => { setTimeout(resolve, pause); });
      }
    }
  }

  #call(method, request) {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + CALL_MS };
      this.#audit[method](request, this.#metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }
}

// ------------------------------------------------------------------------------------------------------------- the events

const PRODUCT = 'oidc-provider';
// How these end is not known when they are told of.
const BEGUN = new Set(['interaction.started']);

// What happened, as the log takes it. The arguments are those of the provider's event: a context, an error, a token, in any order.
export function eventOf(issuer, name, args) {
  const ctx = args.find((it) => it?.req && it?.res);
  const error = args.find((it) => it instanceof Error);
  const prompt = args.find((it) => it?.name && it?.reasons);
  const oidc = ctx?.oidc ?? {};
  const { ClientCredentials, AccessToken, RefreshToken } = oidc.entities ?? {};
  const model = args.find((it) => it?.jti || it?.accountId) ?? ClientCredentials ?? AccessToken ?? RefreshToken ?? {};
  const params = oidc.params ?? {};
  const person = text(model.accountId ?? oidc.account?.accountId ?? oidc.session?.accountId ?? oidc.entities?.Interaction?.session?.accountId);
  const client = text(model.clientId ?? oidc.client?.clientId ?? params.client_id);
  const tried = text(args.find((it) => it?.tried)?.tried);
  const token = tokenOf(issuer, model, params);
  return {
    time: now(),
    action: name,
    actor: person ? { kind: 'user', id: person } : client ? { kind: 'application', id: client } : { kind: 'anonymous', id: 'anonymous' },
    client: person && client ? { kind: 'application', id: client } : null,
    targets: tried ? [{ kind: 'user', id: tried }] : [],
    session: text(oidc.session?.uid ?? model.sessionUid),
    outcome: error ? (error.statusCode < 500 ? 'OUTCOME_DENIED' : 'OUTCOME_FAILURE') : BEGUN.has(name) ? 'OUTCOME_UNKNOWN' : 'OUTCOME_SUCCESS',
    reason: error ? text([error.error ?? error.name, error.error_description].filter(Boolean).join(': ')) : '',
    token,
    scope: { requested: scopes(params.scope), granted: scopes(model.scope ?? oidc.grant?.getOIDCScope?.()) },
    context: ctx ? contextOf(ctx) : null,
    labels: words({ prompt: prompt?.name, reasons: prompt?.reasons?.join(' '), route: oidc.route, error: error?.error, kind: model.kind }),
    source: { product: PRODUCT, service: text(issuer) },
  };
}

// What is kept of a token: never anything that opens something. A stored token's identifier is the token itself, so its hash stands for
// it; a signed one's (RFC 9068) is its `jti`, by which a log of scopes revokes it.
function tokenOf(issuer, model, params) {
  if (!model.jti && !params.grant_type) return null;
  const isSigned = model.resourceServer?.accessTokenFormat === 'jwt';
  const hashed = () => `sha256:${createHash('sha256').update(model.jti).digest('base64url')}`;
  const id = !model.jti ? '' : isSigned ? model.jti : hashed();
  const expires = Number.isInteger(model.exp) ? { seconds: model.exp } : null;
  return { id: text(id), issuer: text(issuer), grant_type: text(model.gty ?? params.grant_type), audience: list(model.aud).map(text), expires };
}

function contextOf(ctx) {
  const [, trace] = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(ctx.get('traceparent')) ?? [];
  return { request_id: text(ctx.get('x-request-id')), trace_id: trace ?? '', ip: text(ctx.ip), user_agent: text(ctx.get('user-agent')) };
}

// All that is left where an event could not be told whole.
function bare({ time, action, outcome }) {
  const reason = 'this event could not be told whole';
  return { time, action: text(action) || 'unknown', actor: { kind: 'system', id: PRODUCT }, outcome, reason, source: { product: PRODUCT } };
}

function now() {
  const milliseconds = Date.now();
  return { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1_000_000 };
}

const list = (value) => (value === undefined || value === null ? [] : [value].flat());

// What somebody sent may be anything: what a log would refuse is left out, and what is too long is cut.
function text(value) {
  const clean = typeof value === 'string' ? value.replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, ' ').trim() : '';
  return Buffer.byteLength(clean) <= MAX_TEXT_BYTES ? clean : Buffer.from(clean).subarray(0, MAX_TEXT_BYTES - 3).toString('utf8').replace(/\uFFFD$/, '');
}

function scopes(value) {
  const tokens = typeof value === 'string' ? value.split(' ') : [];
  return [...new Set(tokens)].filter((it) => /^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/.test(it)).slice(0, MAX_ITEMS);
}

function words(labels) {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, text(value)]).filter(([, value]) => value));
}

// Every event of a provider goes through its `emit`, also those that a later version invents.
export function forward(provider, forwarder) {
  const { emit } = provider;
  provider.emit = function tell(name, ...args) {
    forwarder.add(eventOf(provider.issuer, name, args));
    return emit.call(this, name, ...args);
  };
}

// ----------------------------------------------------------------------------------------------------------- the provider

// Of these the provider tells only where they go wrong.
const SILENT = new Set(['introspection', 'revocation', 'userinfo']);

// A small provider: it stands for yours, of which only the two lines with `emit` and the call of `forward` matter here. Its accounts, clients
// and keys are examples, and what it stores is in memory.
export function provider(issuer, { accounts, clients, keys, scopes: supported }) {
  const it = new Provider(issuer, {
    clients,
    jwks: keys,
    scopes: ['openid', 'offline_access', ...supported],
    rotateRefreshToken: true,
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
    },
  });
  it.use(async (ctx, next) => {
    await next();
    if (SILENT.has(ctx.oidc?.route) && ctx.status === 200) it.emit(`${ctx.oidc.route}.success`, ctx);
  });
  it.use((ctx, next) => (ctx.path.startsWith('/interaction/') ? interact(it, accounts, ctx) : next()));
  return it;
}

// Asks who it is, then what is granted.
async function interact(it, accounts, ctx) {
  const { prompt, params, session, grantId } = await it.interactionDetails(ctx.req, ctx.res);
  if (ctx.method === 'GET') {
    ctx.type = 'html';
    ctx.body = page(prompt.name, params);
    return;
  }
  const form = new URLSearchParams(await body(ctx.req));
  let result = { error: 'access_denied', error_description: 'the person said no' };
  if (prompt.name === 'login' && form.get('answer') === 'yes') {
    const accountId = form.get('account');
    if (!accountId || accounts[accountId] !== form.get('password')) {
      it.emit('login.error', ctx, new errors.AccessDenied(undefined, 'wrong account or password'), { tried: accountId });
      ctx.status = 401;
      ctx.type = 'html';
      ctx.body = page('login', params);
      return;
    }
    it.emit('login.success', ctx, { accountId, clientId: params.client_id });
    result = { login: { accountId } };
  } else if (prompt.name === 'consent' && form.get('answer') === 'yes') {
    const grant = grantId ? await it.Grant.find(grantId) : new it.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    result = { consent: { grantId: await grant.save() } };
  }
  await it.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: result.error === undefined });
  ctx.respond = false;
}

const escaped = (value) => String(value).replace(/[&<>"']/g, (it) => `&#${it.charCodeAt(0)};`);

function page(prompt, params) {
  const fields = prompt === 'login' ? '<input name=account placeholder=account> <input name=password type=password>' : escaped(params.scope);
  return `<!doctype html><title>${prompt}</title><form method=post><p>${escaped(params.client_id)} asks you for ${prompt}: ${fields}</p>
<button name=answer value=yes>yes</button> <button name=answer value=no>no</button></form>`;
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
    if (chunks.reduce((sum, it) => sum + it.length, 0) > 16_384) throw new errors.InvalidRequest('the form is too long');
  }
  return Buffer.concat(chunks).toString();
}

// ---------------------------------------------------------------------------------------------------------------- the start

// Serves until `stop`, which ends once all events are in the log.
export async function serve(settings, { port, address, log, stream, spool, token, ca }) {
  const forwarder = new Forwarder({ address, log, stream, spool, token, ca });
  await forwarder.start();
  const server = createServer();
  await new Promise((resolve) => { server.listen(port, '127.0.0.1', resolve); });
  const it = provider(process.env.ISSUER ?? `http://127.0.0.1:${server.address().port}`, settings);
  forward(it, forwarder);
  server.on('request', it.callback());
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => { server.close(resolve); });
    await forwarder.stop();
  };
  return { provider: it, stop };
}

async function main() {
  const { GRAVEN_ADDRESS, GRAVEN_LOG, GRAVEN_TOKEN_FILE, GRAVEN_CA, SPOOL, SETTINGS, PORT } = process.env;
  const running = await serve(JSON.parse(readFileSync(SETTINGS ?? 'settings.json', 'utf8')), {
    port: Number(PORT ?? 3000),
    address: GRAVEN_ADDRESS ?? '127.0.0.1:4740',
    log: GRAVEN_LOG ?? '',
    stream: 'oidc-provider',
    spool: SPOOL ?? 'events.spool',
    token: GRAVEN_TOKEN_FILE && readFileSync(GRAVEN_TOKEN_FILE, 'utf8').trim(),
    ca: GRAVEN_CA && readFileSync(GRAVEN_CA),
  });
  console.log(`listening, as ${running.provider.issuer}`);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => running.stop().then(() => process.exit()));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
