import assert from 'node:assert/strict';
import { expectMarker, expectPieces, marker, models, newOpenAI, place, proxyURL, question, thoughts, twice, want, weather, words } from './support.mjs';

const client = newOpenAI(proxyURL);

const ask = (model, more) => ({ model, input: question, ...more });

/** What a stream of events says, piece by piece and in its last event. */
async function collect(stream) {
  const got = { text: '', texts: 0, thought: '', thoughts: 0, args: '', completed: undefined };
  let number = 0;
  for await (const event of stream) {
    assert.equal(event.sequence_number, number++, `sequence number of ${event.type}`);
    switch (event.type) {
      case 'response.output_text.delta':
        got.text += event.delta;
        got.texts++;
        break;
      case 'response.reasoning_summary_text.delta':
        got.thought += event.delta;
        got.thoughts++;
        break;
      case 'response.function_call_arguments.delta':
        got.args += event.delta;
        break;
      case 'response.completed':
        got.completed = event.response;
    }
  }
  assert.ok(got.completed, 'no event response.completed');
  return got;
}

const summary = (response) => response.output.find((item) => item.type === 'reasoning')?.summary[0].text;
const answer = (response) => response.output.find((item) => item.type === 'message')?.content[0].text;

twice('response', async () => {
  const got = await client.responses.create(ask(models.plain));
  assert.equal(got.output_text, want.responses.text);
  assert.equal(got.status, 'completed');
  assert.equal(got.usage.output_tokens, words);
});

twice('response, streamed', async () => {
  const got = await collect(await client.responses.create(ask(models.plain, { stream: true })));
  assert.equal(got.text, want.responses.text);
  expectPieces(got.texts, words);
  assert.equal(answer(got.completed), want.responses.text);
});

twice("response, streamed through the client's own collector", async () => {
  const got = await client.responses.stream(ask(models.plain)).finalResponse();
  assert.equal(got.output_text, want.responses.text);
});

twice('response with reasoning', async () => {
  const got = await client.responses.create(ask(models.think));
  assert.equal(got.output_text, want.responses.after_thought);
  assert.equal(summary(got), want.responses.thought);
  assert.equal(got.usage.output_tokens_details.reasoning_tokens, thoughts);
});

twice('response with reasoning, streamed', async () => {
  const got = await collect(await client.responses.create(ask(models.think, { stream: true })));
  assert.equal(got.text, want.responses.after_thought);
  assert.equal(got.thought, want.responses.thought);
  expectPieces(got.thoughts, thoughts);
  assert.equal(summary(got.completed), want.responses.thought);
});

const tools = [{ type: 'function', name: 'get_weather', parameters: weather, strict: false }];

function expectCall(response) {
  assert.deepEqual(response.output.map((item) => item.type), ['function_call']);
  const [call] = response.output;
  assert.equal(call.call_id, want.responses.call_id);
  assert.equal(call.name, 'get_weather');
  assert.deepEqual(JSON.parse(call.arguments), want.responses.arguments);
  return call;
}

twice('response with a tool and its result', async () => {
  const call = expectCall(await client.responses.create(ask(models.demo, { tools })));
  const input = [{ role: 'user', content: question }, call, { type: 'function_call_output', call_id: call.call_id, output: `sunny ${marker(0)}` }];
  expectMarker((await client.responses.create({ model: models.demo, tools, input })).output_text, marker(0));
});

twice('response with a tool, streamed', async () => {
  const got = await collect(await client.responses.create(ask(models.demo, { tools, stream: true })));
  assert.deepEqual(JSON.parse(got.args), want.responses.arguments);
  expectCall(got.completed);
});

const text = { format: { type: 'json_schema', name: 'place', schema: place, strict: true } };

twice('response with json_schema', async () => {
  const got = await client.responses.create(ask(models.demo, { text }));
  assert.deepEqual(JSON.parse(got.output_text), want.responses.object);
});

twice('response with json_schema, streamed', async () => {
  const got = await collect(await client.responses.create(ask(models.demo, { text, stream: true })));
  assert.deepEqual(JSON.parse(got.text), want.responses.object);
});
