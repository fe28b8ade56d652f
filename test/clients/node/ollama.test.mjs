import assert from 'node:assert/strict';
import { expectMarker, expectPieces, expectVector, marker, models, newOllama, place, proxyURL, question, thoughts, twice, want, weather, words } from './support.mjs';

const client = newOllama(proxyURL);

const chat = (model, more) => client.chat({ model, messages: [{ role: 'user', content: question }], ...more });
const generate = (model, more) => client.generate({ model, prompt: question, ...more });

/** An answer as a program would collect it: one object, or a stream of them. */
async function collect(answer) {
  const got = { text: '', texts: 0, thought: '', thoughts: 0, calls: [], last: undefined };
  for await (const part of Symbol.asyncIterator in answer ? answer : [answer]) {
    const text = part.message?.content ?? part.response;
    const thought = part.message?.thinking ?? part.thinking ?? '';
    if (text) got.texts++;
    if (thought) got.thoughts++;
    got.text += text;
    got.thought += thought;
    got.calls.push(...(part.message?.tool_calls ?? []));
    got.last = part;
  }
  return got;
}

function expectAnswer(got, text, pieces) {
  assert.equal(got.text, text);
  expectPieces(got.texts, pieces);
  assert.equal(got.last.done, true);
  assert.equal(got.last.done_reason, 'stop');
}

for (const stream of [false, true]) {
  const how = stream ? 'streamed' : 'plain';
  const pieces = (n) => (stream ? n : 1);

  twice(`chat, ${how}`, async () => {
    const got = await collect(await chat(models.plain, { stream }));
    expectAnswer(got, want.ollama_chat.text, pieces(words));
    assert.equal(got.last.prompt_eval_count, 3);
    assert.equal(got.last.eval_count, words);
  });

  twice(`generate, ${how}`, async () => {
    const got = await collect(await generate(models.plain, { stream }));
    expectAnswer(got, want.ollama_generate.text, pieces(words));
    assert.equal(got.last.prompt_eval_count, 2);
    assert.equal(got.last.eval_count, words);
  });

  twice(`chat with thinking, ${how}`, async () => {
    const got = await collect(await chat(models.think, { think: true, stream }));
    expectAnswer(got, want.ollama_chat.after_thought, pieces(words));
    assert.equal(got.thought, want.ollama_chat.thought);
    expectPieces(got.thoughts, pieces(thoughts));
  });

  twice(`generate with thinking, ${how}`, async () => {
    const got = await collect(await generate(models.think, { think: 'high', stream }));
    expectAnswer(got, want.ollama_generate.after_thought, pieces(words));
    assert.equal(got.thought, want.ollama_generate.thought);
    expectPieces(got.thoughts, pieces(thoughts));
  });

  twice(`chat with a tool and its result, ${how}`, async () => {
    const tools = [{ type: 'function', function: { name: 'get_weather', parameters: weather } }];
    const got = await collect(await chat(models.demo, { tools, stream }));
    assert.equal(got.calls.length, 1);
    assert.equal(got.calls[0].id, want.ollama_chat.call_id);
    assert.equal(got.calls[0].function.name, 'get_weather');
    assert.deepEqual(got.calls[0].function.arguments, want.ollama_chat.arguments);

    const messages = [
      { role: 'user', content: question },
      { role: 'assistant', content: '', tool_calls: got.calls },
      { role: 'tool', tool_name: 'get_weather', content: `sunny ${marker(0)}` },
    ];
    expectMarker((await collect(await chat(models.demo, { tools, messages, stream }))).text, marker(0));
  });

  for (const [name, format, object] of [
    ['json', 'json', { answer: want.ollama_chat.text }],
    ['a schema', place, want.ollama_chat.object],
  ]) {
    twice(`chat with ${name}, ${how}`, async () => {
      const got = await collect(await chat(models.plain, { format, stream }));
      assert.deepEqual(JSON.parse(got.text), object);
    });
  }
}

twice('embed', async () => {
  const { embeddings } = await client.embed({ model: models.embed, input: ['hello', 'world'] });
  assert.equal(embeddings.length, 2);
  expectVector(embeddings[0], 'hello');
  expectVector(embeddings[1], 'world');
});

// The older form's vectors are eight times as long.
twice('embeddings', async () => {
  const { embedding } = await client.embeddings({ model: models.embed, prompt: 'hello' });
  expectVector(embedding.map((f) => f / 8), 'hello');
});
