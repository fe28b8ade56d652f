import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { beforeBreak, broken, brokenModel, models, newOllama, newOpenAI, proxyURL, question, readStats, readToError, simulator, twice, want } from './support.mjs';

const openai = newOpenAI(proxyURL);
const ollama = newOllama(proxyURL);

const messages = [{ role: 'user', content: question }];

/** Matches a ResponseError, which Ollama's client does not export. */
const responseError = (status_code, message) => (error) => {
  assert.equal(error.name, 'ResponseError');
  assert.equal(error.status_code, status_code);
  assert.match(error.message, message);
  return true;
};

const unknown = {
  chat: () => openai.chat.completions.create({ model: 'nobody', messages }),
  stream: () => openai.chat.completions.create({ model: 'nobody', messages, stream: true }),
  responses: () => openai.responses.create({ model: 'nobody', input: question }),
  retrieve: () => openai.models.retrieve('nobody'),
};

for (const [name, ask] of Object.entries(unknown)) {
  twice(`OpenAI: unknown model, ${name}`, async () => {
    await assert.rejects(ask(), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError, `${error}`);
      assert.equal(error.type, 'not_found_error');
      assert.match(error.message, /model 'nobody' not found/);
      return true;
    });
  });
}

twice('OpenAI: bad request', async () => {
  await assert.rejects(openai.chat.completions.create({ model: models.demo, messages: [] }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.equal(error.type, 'invalid_request_error');
    assert.match(error.message, /is too short - 'messages'/);
    return true;
  });
});

for (const [status, kind] of [[429, OpenAI.RateLimitError], [500, OpenAI.InternalServerError], [503, OpenAI.InternalServerError]]) {
  twice(`OpenAI: the backend's own ${status}`, async () => {
    await assert.rejects(openai.chat.completions.create({ model: `${models.demo}&fail=${status}&retry_after=7`, messages }), (error) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.equal(error.status, status);
      assert.match(error.message, /simulated failure/);
      assert.equal(error.headers.get('Retry-After'), status === 500 ? null : '7');
      assert.equal(error.headers.get('X-Vega-Error'), null);
      return true;
    });
  });
}

// The client retries, as it does unless told otherwise.
twice('OpenAI: retry', async () => {
  const path = '/v1/chat/completions';
  const before = (await readStats()).requests[path] ?? 0;
  await simulator('POST', `/__sim/fault?fail=429&times=1&retry_after=0&path=${path}`);
  const got = await openai.chat.completions.create({ model: models.plain, messages }, { maxRetries: 2, headers: { 'Cache-Control': 'no-store' } });
  assert.equal(got.choices[0].message.content, want.chat.text);
  assert.equal((await readStats()).requests[path] - before, 2);
});

// The backend's own words arrive as they are; where it just falls silent, the
// proxy says what happened.
for (const [name, { knobs, code, message }] of Object.entries(broken)) {
  const model = brokenModel(knobs);
  const streams = {
    chat: () => openai.chat.completions.create({ model, messages, stream: true }),
    completion: () => openai.completions.create({ model, prompt: question, stream: true }),
    response: () => openai.responses.create({ model, input: question, stream: true }),
  };
  for (const [kind, ask] of Object.entries(streams)) {
    twice(`OpenAI: ${kind} ends with ${name}`, async () => {
      const { count, error } = await readToError(await ask());
      assert.equal(count, beforeBreak);
      assert.ok(error instanceof OpenAI.APIError, `${error}`);
      assert.equal(error.code, code);
      assert.match(error.message, message);
    });
  }

  const lines = {
    chat: () => ollama.chat({ model, messages, stream: true }),
    generate: () => ollama.generate({ model, prompt: question, stream: true }),
  };
  for (const [kind, ask] of Object.entries(lines)) {
    twice(`Ollama: ${kind} ends with ${name}`, async () => {
      const { count, error } = await readToError(await ask());
      assert.equal(count, beforeBreak);
      assert.ok(error instanceof Error, `${error}`);
      assert.match(error.message, message);
      // That would be the client's own guess, not the error that it was sent.
      assert.doesNotMatch(error.message, /Did not receive done|terminated/);
    });
  }
}

// A plain answer has no place for an error: the connection breaks.
twice('OpenAI: half a plain answer', async () => {
  await assert.rejects(openai.chat.completions.create({ model: `${models.demo}&fail=eof`, messages }), /terminated|aborted/);
});

twice('Ollama: half a plain answer', async () => {
  await assert.rejects(ollama.chat({ model: `${models.demo}&fail=eof`, messages }), /terminated|aborted/);
});

twice('Ollama: unknown model', async () => {
  const check = responseError(404, /model 'nobody' not found/);
  await assert.rejects(ollama.chat({ model: 'nobody', messages }), check);
  await assert.rejects(ollama.chat({ model: 'nobody', messages, stream: true }), check);
  await assert.rejects(ollama.generate({ model: 'nobody', prompt: question }), check);
  await assert.rejects(ollama.show({ model: 'nobody' }), check);
  await assert.rejects(ollama.delete({ model: 'nobody' }), check);
});

twice('Ollama: bad request', async () => {
  await assert.rejects(ollama.chat({ model: models.demo, messages, think: true }), responseError(400, /does not support thinking/));
});
