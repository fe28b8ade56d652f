import assert from 'node:assert/strict';
import { expectMarker, expectPieces, expectVector, marker, models, newOpenAI, place, proxyURL, question, thoughts, twice, want, weather, words } from './support.mjs';

const client = newOpenAI(proxyURL);

const ask = (model, more) => ({ model, messages: [{ role: 'user', content: question }], ...more });

/** A chat stream as a program would collect it. */
async function collect(stream) {
  const got = { text: '', texts: 0, thought: '', thoughts: 0, finish: null, usage: [], call: { id: '', name: '', args: '' }, callDeltas: 0 };
  for await (const chunk of stream) {
    if (chunk.usage) got.usage.push(chunk.usage);
    for (const { delta, finish_reason } of chunk.choices) {
      if (delta.content) got.texts++;
      got.text += delta.content ?? '';
      if (delta.reasoning) got.thoughts++;
      got.thought += delta.reasoning ?? '';
      for (const call of delta.tool_calls ?? []) {
        got.callDeltas++;
        got.call.id += call.id ?? '';
        got.call.name += call.function.name ?? '';
        got.call.args += call.function.arguments ?? '';
      }
      got.finish = finish_reason ?? got.finish;
    }
  }
  return got;
}

twice('models', async () => {
  const got = [];
  for await (const model of client.models.list()) got.push(model.id);
  for (const name of ['demo:latest', 'demo-embed:latest', 'demo-think:latest']) {
    assert.ok(got.includes(name), `${name} is missing in ${got}`);
  }
  assert.equal((await client.models.retrieve('demo:latest')).id, 'demo:latest');
});

twice('chat', async () => {
  const got = await client.chat.completions.create(ask(models.plain));
  assert.equal(got.choices[0].message.content, want.chat.text);
  assert.equal(got.choices[0].finish_reason, 'stop');
  assert.deepEqual(got.usage, { prompt_tokens: 3, completion_tokens: words, total_tokens: 3 + words });
});

twice('chat, streamed', async () => {
  const got = await collect(await client.chat.completions.create(ask(models.plain, { stream: true })));
  assert.equal(got.text, want.chat.text);
  expectPieces(got.texts, words);
  assert.equal(got.finish, 'stop');
  assert.equal(got.usage.length, 0);
});

twice('chat, streamed with usage', async () => {
  const got = await collect(await client.chat.completions.create(ask(models.plain, { stream: true, stream_options: { include_usage: true } })));
  assert.equal(got.text, want.chat.text);
  expectPieces(got.texts, words);
  assert.deepEqual(got.usage, [{ prompt_tokens: 3, completion_tokens: words, total_tokens: 3 + words }]);
});

twice("chat, streamed through the client's own collector", async () => {
  let deltas = 0;
  const stream = client.chat.completions.stream(ask(models.plain));
  stream.on('content', () => deltas++);
  const got = await stream.finalChatCompletion();
  assert.equal(got.choices[0].message.content, want.chat.text);
  expectPieces(Math.min(deltas, words), words);
});

twice('chat with reasoning', async () => {
  const { message } = (await client.chat.completions.create(ask(models.think))).choices[0];
  assert.equal(message.content, want.chat.after_thought);
  assert.equal(message.reasoning, want.chat.thought);
});

twice('chat with reasoning, streamed', async () => {
  const got = await collect(await client.chat.completions.create(ask(models.think, { stream: true })));
  assert.equal(got.text, want.chat.after_thought);
  assert.equal(got.thought, want.chat.thought);
  expectPieces(got.thoughts, thoughts);
});

const tools = [{ type: 'function', function: { name: 'get_weather', parameters: weather } }];

twice('chat with a tool and its result', async () => {
  const request = ask(models.demo, { tools });
  const { message, finish_reason } = (await client.chat.completions.create(request)).choices[0];
  assert.equal(finish_reason, 'tool_calls');
  assert.equal(message.tool_calls.length, 1);
  const call = message.tool_calls[0];
  assert.equal(call.id, want.chat.call_id);
  assert.equal(call.function.name, 'get_weather');
  assert.deepEqual(JSON.parse(call.function.arguments), want.chat.arguments);

  request.messages.push(message, { role: 'tool', tool_call_id: call.id, content: `sunny ${marker(0)}` });
  const answer = await client.chat.completions.create(request);
  expectMarker(answer.choices[0].message.content, marker(0));
});

// llama.cpp and vLLM send the arguments in pieces.
for (const [model, least] of [[models.demo, 1], [`${models.demo}&like=llama`, 3]]) {
  twice(`chat with a tool, streamed by ${model}`, async () => {
    const got = await collect(await client.chat.completions.create(ask(model, { tools, stream: true })));
    assert.equal(got.finish, 'tool_calls');
    assert.equal(got.call.id, want.chat.call_id);
    assert.equal(got.call.name, 'get_weather');
    assert.deepEqual(JSON.parse(got.call.args), want.chat.arguments);
    expectPieces(Math.min(got.callDeltas, least), least);
  });
}

for (const [response_format, object] of [
  [{ type: 'json_object' }, { answer: want.chat.text }],
  [{ type: 'json_schema', json_schema: { name: 'place', schema: place, strict: true } }, want.chat.object],
]) {
  twice(`chat with ${response_format.type}`, async () => {
    const got = await client.chat.completions.create(ask(models.plain, { response_format }));
    assert.deepEqual(JSON.parse(got.choices[0].message.content), object);
  });
  twice(`chat with ${response_format.type}, streamed`, async () => {
    const got = await collect(await client.chat.completions.create(ask(models.plain, { response_format, stream: true })));
    assert.deepEqual(JSON.parse(got.text), object);
  });
}

twice('completion', async () => {
  const got = await client.completions.create({ model: models.plain, prompt: question });
  assert.equal(got.choices[0].text, want.completion.text);
  assert.equal(got.usage.completion_tokens, words);
});

twice('completion, streamed', async () => {
  let text = '';
  let deltas = 0;
  let usage;
  const request = { model: models.plain, prompt: question, stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await client.completions.create(request)) {
    usage = chunk.usage; // the last one counts
    if (chunk.choices[0]?.text) deltas++;
    text += chunk.choices[0]?.text ?? '';
  }
  assert.equal(text, want.completion.text);
  expectPieces(deltas, words);
  assert.equal(usage.completion_tokens, words);
});

// Unless told otherwise this client asks for base64 and decodes it.
for (const encoding_format of ['float', undefined]) {
  twice(`embeddings as ${encoding_format ?? 'base64'}`, async () => {
    const got = await client.embeddings.create({ model: models.embed, input: ['hello', 'world'], encoding_format });
    assert.equal(got.data.length, 2);
    expectVector(got.data[0].embedding, 'hello');
    expectVector(got.data[1].embedding, 'world');
    assert.equal(got.usage.prompt_tokens, 4);
  });
}
