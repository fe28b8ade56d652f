import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { abortWaiting, beforeBreak, deadURL, expectCancel, expectMarker, marker, models, newOllama, newOpenAI, proxyURL, question, readStats, twice } from './support.mjs';

const messages = [{ role: 'user', content: question }];

// The proxy's own refusal.

const deadOpenAI = newOpenAI(deadURL);
for (const [name, ask] of Object.entries({
  models: () => deadOpenAI.models.list(),
  chat: () => deadOpenAI.chat.completions.create({ model: 'demo', messages }),
  stream: () => deadOpenAI.chat.completions.create({ model: 'demo', messages, stream: true }),
  response: () => deadOpenAI.responses.create({ model: 'demo', input: question }),
  embeddings: () => deadOpenAI.embeddings.create({ model: 'demo', input: question }),
})) {
  twice(`OpenAI: no backend, ${name}`, async () => {
    await assert.rejects(ask(), (error) => {
      assert.ok(error instanceof OpenAI.InternalServerError, `${error}`);
      assert.equal(error.status, 502);
      assert.equal(error.code, 'upstream_unreachable');
      assert.equal(error.type, 'vega_error');
      assert.match(error.message, /default/); // the upstream's name
      assert.equal(error.headers.get('X-Vega-Error'), 'upstream_unreachable');
      return true;
    });
  });
}

const deadOllama = newOllama(deadURL);
for (const [name, ask] of Object.entries({
  list: () => deadOllama.list(),
  chat: () => deadOllama.chat({ model: 'demo', messages }),
  stream: () => deadOllama.chat({ model: 'demo', messages, stream: true }),
  embed: () => deadOllama.embed({ model: 'demo', input: question }),
  pull: () => deadOllama.pull({ model: 'demo', stream: true }),
})) {
  twice(`Ollama: no backend, ${name}`, async () => {
    await assert.rejects(ask(), { name: 'ResponseError', status_code: 502, message: /default/ });
  });
}

const openai = newOpenAI(proxyURL);

twice('headers', async () => {
  const { response } = await openai.chat.completions.create({ model: models.plain, messages }, { headers: { 'X-Request-Id': 'from-node' } }).withResponse();
  assert.equal(response.headers.get('X-Vega-Request-Id'), 'from-node');
  for (const name of ['X-Vega-Upstream', 'X-Vega-Cache', 'Via']) {
    assert.ok(response.headers.get(name), `no header ${name}`);
  }
});

// An abort in mid-stream also shows that events pass as they come: three are
// here while the backend has not finished, and never would.

/** Takes the first events, leaves, and waits until the backend knows. */
async function abortStreaming(ask, leave) {
  const before = await readStats();
  const stream = await ask();
  const events = stream[Symbol.asyncIterator]();
  for (let n = 0; n < beforeBreak; n++) {
    assert.equal((await events.next()).done, false, `the stream ended after ${n} events`);
  }
  await leave(stream, events);
  await expectCancel(before);
}

twice('OpenAI: abort a chat stream', () =>
  abortStreaming(
    () => openai.chat.completions.create({ model: models.hang, messages, stream: true }),
    (stream) => stream.controller.abort(),
  ));

// What a `break` in a loop over the stream does.
twice('OpenAI: break out of a response stream', () =>
  abortStreaming(
    () => openai.responses.create({ model: models.hang, input: question, stream: true }),
    (_, events) => events.return(),
  ));

twice('OpenAI: abort before the answer', () => {
  const abort = new AbortController();
  return abortWaiting(
    '/v1/chat/completions',
    () => openai.chat.completions.create({ model: models.slow, messages }, { signal: abort.signal }),
    () => abort.abort(),
    OpenAI.APIUserAbortError,
  );
});

twice('Ollama: abort a chat stream', () => {
  const ollama = newOllama(proxyURL);
  return abortStreaming(
    () => ollama.chat({ model: models.hang, messages, stream: true }),
    (stream) => stream.abort(),
  );
});

twice('Ollama: abort all streams', () => {
  const ollama = newOllama(proxyURL);
  return abortStreaming(
    () => ollama.generate({ model: models.hang, prompt: question, stream: true }),
    () => ollama.abort(),
  );
});

// Many streams at once: each must get its own answer.

const crowd = Array.from({ length: 20 }, (_, n) => n);

twice('OpenAI: a crowd', () => Promise.all(crowd.map(async (n) => {
  let text = '';
  const content = `question ${n} ${marker(n)}`;
  for await (const chunk of await openai.chat.completions.create({ model: models.paced, messages: [{ role: 'user', content }], stream: true })) {
    text += chunk.choices[0].delta.content ?? '';
  }
  expectMarker(text, marker(n));
})));

twice('Ollama: a crowd', () => {
  const ollama = newOllama(proxyURL);
  return Promise.all(crowd.map(async (n) => {
    let text = '';
    const content = `question ${n} ${marker(n)}`;
    for await (const line of await ollama.chat({ model: models.paced, messages: [{ role: 'user', content }], stream: true })) {
      text += line.message.content;
    }
    expectMarker(text, marker(n));
  }));
});
