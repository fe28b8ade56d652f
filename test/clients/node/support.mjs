// What the tests share. scripts/test-clients.sh starts the proxies that the
// environment names.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Ollama } from 'ollama';
import OpenAI from 'openai';

function fromEnvironment(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: run scripts/test-clients.sh, which starts what these tests need`);
  }
  return value;
}

/** The proxy before the simulated backend. */
export const proxyURL = fromEnvironment('CLIENTS_PROXY_URL');
/** The proxy before a port where nobody listens. */
export const deadURL = fromEnvironment('CLIENTS_DEAD_URL');

/** The simulated backend's answers to the question. */
export const want = JSON.parse(readFileSync(new URL('../expected.json', import.meta.url), 'utf8'));

export const question = 'hello';
export const words = 12; // of an answer
export const thoughts = 4; // words of reasoning

// The models' names carry the simulator's knobs, so that these tests do not
// depend on its defaults.
const atOnce = 'ttft=0s&delay=0s';
export const models = {
  demo: `demo?${atOnce}`,
  plain: `demo?${atOnce}&tokens=${words}`,
  think: `demo-think?${atOnce}&tokens=${words}&think_tokens=${thoughts}`,
  embed: `demo-embed?${atOnce}&dims=4`,
  /** Says three things and then nothing more, until the client leaves. */
  hang: `demo?${atOnce}&fail=hang&fail_after=3`,
  /** Does not say anything within a test's time. */
  slow: 'demo?ttft=10m',
  paced: 'demo?ttft=0s&delay=2ms&tokens=40',
};

/** A client that does not retry, so that it hides no failure. */
export const newOpenAI = (base) => new OpenAI({ baseURL: `${base}/v1`, apiKey: 'test-node', maxRetries: 0 });

export const newOllama = (base) => new Ollama({ host: base });

/**
 * Runs a test and runs it again: a client must get the same, whether the backend
 * answers or what the proxy remembers.
 */
export function twice(name, run) {
  for (const round of ['first', 'again']) {
    test(`${name}, ${round}`, { timeout: 20_000 }, run);
  }
}

/** Asks the backend for what no client knows, through the proxy. */
export async function simulator(method, path) {
  const response = await fetch(proxyURL + path, { method });
  assert.equal(response.status, 200, `${method} ${path}`);
  return response.json();
}

/** The simulated backend's own counters. */
export const readStats = () => simulator('GET', '/__sim/stats');

/** Polls the backend's counters until they are as they should be. */
export async function waitFor(what, ok) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const stats = await readStats();
    if (ok(stats)) return;
    assert.ok(Date.now() < deadline, `${what}: not after 10 s; the backend counts ${JSON.stringify(stats)}`);
    await sleep(10);
  }
}

/** Waits until the backend has noticed that a client left. */
export const expectCancel = (before) =>
  waitFor('the backend learns that the client left', (stats) => stats.cancelled > before.cancelled);

/** Leaves while the backend still thinks: leave must make the promise fail. */
export async function abortWaiting(path, ask, leave, check) {
  const before = await readStats();
  const failed = assert.rejects(ask(), check);
  await waitFor('the request reaches the backend', (stats) => (stats.requests[path] ?? 0) > (before.requests[path] ?? 0));
  leave();
  await failed;
  await expectCancel(before);
}

/** The nth of many texts that an answer must repeat. */
export const marker = (n) => `[[p:${(0xfeed0000 + n).toString(16).padStart(16, '0')}]]`;

/** Checks that an answer repeats its own marker and nobody else's. */
export function expectMarker(text, own) {
  assert.ok(text.startsWith(own), `${JSON.stringify(text)} should begin with ${own}`);
  assert.equal(text.split('[[p:').length, 2, `markers in ${JSON.stringify(text)}`);
}

/** The vectors are 32-bit floats, however they came. */
export function expectVector(got, text) {
  assert.deepEqual(Array.from(got, Math.fround), want.vectors[text].map(Math.fround), `vector of ${text}`);
}

/** The one tool's parameters. */
export const weather = {
  type: 'object',
  required: ['city'],
  properties: { city: { type: 'string' }, unit: { type: 'string', enum: ['celsius', 'fahrenheit'] } },
};

/** The schema of answers that are an object. */
export const place = {
  type: 'object',
  required: ['name', 'open'],
  additionalProperties: false,
  properties: { name: { type: 'string' }, open: { type: 'boolean' } },
};

/** Ways in which an answer ends too early: what the backend does, what the client reads. */
export const broken = {
  'error event': { knobs: 'fail=error-event', code: null, message: /an error was encountered while running the model/ },
  cut: { knobs: 'fail=eof', code: 'upstream_broke', message: /the upstream default/ },
  reset: { knobs: 'fail=reset', code: 'upstream_broke', message: /the upstream default/ },
  'half event': { knobs: 'fail=half-event', code: 'upstream_broke', message: /the upstream default/ },
};

export const beforeBreak = 3; // events, which must all arrive
export const brokenModel = (knobs) => `${models.plain}&fail_after=${beforeBreak}&${knobs}`;

/** Reads a stream to its end and counts, also if the end is an error. */
export async function readToError(stream) {
  let count = 0;
  try {
    for await (const _ of stream) count++;
  } catch (error) {
    return { count, error };
  }
  return { count, error: undefined };
}

/**
 * Checks in how many pieces something came. With the cache on, an answer that was first asked for as a whole may be
 * streamed in fewer: it is then a document that was turned into a stream.
 */
export function expectPieces(got, n) {
  if (process.env.CLIENTS_CACHE === 'all') {
    assert.ok(got >= 1 && got <= n, `${got} pieces, want 1 to ${n}`);
  } else {
    assert.equal(got, n);
  }
}
