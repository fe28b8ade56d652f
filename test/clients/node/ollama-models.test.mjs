import assert from 'node:assert/strict';
import { models, newOllama, proxyURL, twice } from './support.mjs';

const client = newOllama(proxyURL);

const installed = async () => (await client.list()).models.map((model) => model.name);
const running = async () => (await client.ps()).models.map((model) => model.name);

twice('version', async () => {
  assert.match((await client.version()).version, /^\d+\.\d+/);
});

twice('list', async () => {
  const got = await installed();
  for (const name of ['demo:latest', 'demo-embed:latest', 'demo-think:latest']) {
    assert.ok(got.includes(name), `${name} is missing in ${got}`);
  }
});

twice('show', async () => {
  const got = await client.show({ model: 'demo-think' });
  assert.equal(got.system, 'You are a simulated model.');
  assert.equal(got.details.format, 'gguf');
  assert.ok(got.capabilities.includes('thinking'), `thinking is missing in ${got.capabilities}`);
});

twice('load, ps, unload', async () => {
  const load = await client.generate({ model: models.demo, prompt: '' });
  assert.equal(load.done_reason, 'load');
  assert.ok((await running()).includes('demo:latest'));
  const unload = await client.generate({ model: models.demo, prompt: '', keep_alive: 0 });
  assert.equal(unload.done_reason, 'unload');
  assert.ok(!(await running()).includes('demo:latest'));
});

/** Checks that so many lines count bytes, up to their total, and that the last line says success. */
async function expectProgress(stream, counting) {
  const lines = [];
  for await (const line of stream) lines.push(line);
  const counts = lines.filter((line) => line.total).map((line) => line.completed);
  assert.equal(counts.length, counting);
  assert.deepEqual(counts, counts.toSorted((a, b) => a - b));
  if (counting > 0) assert.equal(counts.at(-1), lines.find((line) => line.total).total);
  assert.equal(lines.at(-1).status, 'success');
}

const knobs = (tokens) => `tokens=${tokens}&ttft=0s&delay=0s`;

twice('pull, push, create, copy, delete', async () => {
  await expectProgress(await client.pull({ model: `clients/node?${knobs(5)}`, stream: true }), 5);
  await expectProgress(await client.push({ model: `clients/node?${knobs(4)}`, stream: true }), 4);
  await expectProgress(await client.create({ model: 'clients/made', from: 'demo', stream: true }), 0);
  await client.copy({ source: 'clients/node', destination: 'clients/copied' });
  for (const name of ['clients/copied:latest', 'clients/made:latest', 'clients/node:latest']) {
    assert.ok((await installed()).includes(name), `${name} is missing`);
    await client.delete({ model: name });
    assert.ok(!(await installed()).includes(name), `${name} should be gone`);
  }
});

twice('pull, plain', async () => {
  assert.equal((await client.pull({ model: `clients/plain?${knobs(5)}` })).status, 'success');
  await client.delete({ model: 'clients/plain' });
});
