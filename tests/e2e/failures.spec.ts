// Bad input: a sentence each, and the tab goes on.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { PemaPage } from './page';
import { forOtherHead } from './support/adapter';
import { type Pair, samplePairs, TEMPLATE, writePairs } from './support/data';
import { failureOf } from './support/failing';
import { expect, test } from './support/fixtures';
import { Service, ServiceProcess } from './support/service';
import { TINY } from './support/settings';

/** Proves that the tab still works: good pairs are read. */
async function stillLoads(pema: PemaPage, folder: string): Promise<void> {
  const train = writePairs(folder, 'good.jsonl', samplePairs('train', 3));
  const counts = await pema.loadFiles({ train }, { template: TEMPLATE, validationFraction: 0.34 });
  expect(counts.train + counts.validation).toBe(3);
}

test('an unknown key is refused, and the right one still works', async ({ openTab, site }) => {
  const process = await ServiceProcess.start({ origins: [site.origin], key: 'right-key' });
  const service = await Service.before(process);
  const pema = await openTab(service);
  const wrong = await failureOf(pema.connect(service.url, 'wrong-key'));
  expect(wrong).toMatchObject({ section: 'connect', kind: 'key-unknown' });
  expect(wrong.message).toContain('the API key is not known here: check it');
  expect(await failureOf(pema.connect(service.url))).toMatchObject({ kind: 'key-missing' });
  await pema.connect(service.url, 'right-key');
  await expect(pema.at('model')).toBeVisible();
  await service.proxy.close();
  await process.close();
});

test('another server, a silent one and another wire version are told apart', async ({ openTab, service, site }) => {
  const pema = await openTab(service);
  service.proxy.tamper = (bytes) => Buffer.from(bytes.toString('latin1').replace('"wire_version":1', '"wire_version":9'), 'latin1');
  const other = await failureOf(pema.connect(service.url));
  service.proxy.tamper = undefined;
  expect(other).toMatchObject({ kind: 'not-pema' });
  expect(other.message).toMatch(/version 9/);

  expect(await failureOf(pema.connect(site.origin))).toMatchObject({ kind: 'not-pema' });
  const silent = await failureOf(pema.connect('http://127.0.0.1:9'));
  expect(silent).toMatchObject({ kind: 'unreachable' });
  expect(silent.message).toContain('does not answer');
  await pema.connect(service.url);
  await expect(pema.at('model')).toBeVisible();
});

test('a service that was started again with another model is noticed', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await pema.connect(service.url);
  const train = writePairs(folder, 'train.jsonl', samplePairs('train', 3));
  await pema.loadFiles({ train }, { template: TEMPLATE, validationFraction: 0.34 });
  const model = `"model":"${'ab'.repeat(32)}"`;
  service.proxy.tamper = (bytes) => Buffer.from(bytes.toString('latin1').replace(/"model":"[0-9a-f]{64}"/, model), 'latin1');
  const failure = await failureOf(pema.downloadMemory());
  expect(failure).toMatchObject({ section: 'memory', kind: 'not-pema' });
  expect(failure.message).toContain('of another model than its model card: connect again');
  service.proxy.tamper = undefined;
  expect((await pema.downloadMemory()).trainRows).toBeGreaterThan(0);
});

test('bad data is refused with the place and what to do', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await pema.connect(service.url);
  const good = samplePairs('train', 3);
  const load = (bad: Pair, template = TEMPLATE): Promise<unknown> =>
    pema.loadFiles({ train: writePairs(folder, 'bad.jsonl', [...good, bad]) }, { template, validationFraction: 0.34 });

  await test.step('a template without {input}', async () => {
    const failure = await failureOf(load({ input: 'a', target: 'b' }, 'Formal:'));
    expect(failure).toMatchObject({ section: 'data', kind: 'bad-template' });
    expect(failure.message).toContain('{input}');
  });
  await test.step('an empty prompt', async () => {
    const failure = await failureOf(load({ input: '', target: 'b' }, '{input}'));
    expect(failure.section).toBe('data');
    expect(failure.message).toMatch(/(line|pair) 4/);
  });
  await test.step('a prompt that is too long', async () => {
    const failure = await failureOf(load({ input: 'very '.repeat(5000), target: 'b' }));
    expect(failure).toMatchObject({ section: 'data', kind: 'unusable-pair' });
    expect(failure.message).toMatch(/(line|pair) 4.*tokens.*shorten/s);
  });
  await test.step('a target that the tokenizer cannot encode', async () => {
    const failure = await failureOf(load({ input: 'a', target: 'The end<|im_end|> is near.' }));
    expect(failure).toMatchObject({ section: 'data', kind: 'unusable-pair' });
    expect(failure.message).toMatch(/(line|pair) 4.*<\|im_end\|>/s);
  });
  await stillLoads(pema, folder);
});

test('without WebGPU, asking for it says so and the CPU works', async ({ openTab, service, site, folder }) => {
  const pema = await openTab(service, { webgpu: false, device: 'webgpu' });
  expect(await pema.failureKind('open')).toBe('no-webgpu');
  expect(await pema.failure('open')).toContain('choose the CPU');
  await pema.open(site.origin, { device: 'cpu', service: service.url });
  expect(await pema.device()).toBe('cpu');
  await pema.connect(service.url);
  await stillLoads(pema, folder);
});

test('an adapter made for another head is refused, and the one in use stays', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await pema.connect(service.url);
  const train = writePairs(folder, 'train.jsonl', samplePairs('train', 3));
  await pema.loadFiles({ train }, { template: TEMPLATE, validationFraction: 0.34 });
  await pema.downloadMemory();
  await pema.train({ ...TINY, name: 'mine' });

  const head = (await pema.at('model').getAttribute('data-head-hash')) ?? '';
  const path = join(folder, 'other.safetensors');
  writeFileSync(path, forOtherHead(await pema.exportAdapter(), head));
  const other = await failureOf(pema.importAdapter(path));
  expect(other).toMatchObject({ section: 'adapters', kind: 'adapter-file' });
  expect(other.message).toMatch(/head/);

  writeFileSync(path, 'not an adapter at all');
  expect(await failureOf(pema.importAdapter(path))).toMatchObject({ section: 'adapters', kind: 'adapter-file' });
  expect(await pema.adapters()).toMatchObject([{ name: 'mine', selected: true, fits: true }]);
  expect((await pema.generate('hi there', { maxTokens: 4 })).mixture).toBeDefined();
});
