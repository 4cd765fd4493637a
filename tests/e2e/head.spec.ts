// The smaller head: half the download, and everything else as with the other.

import { understand } from './capture/capture';
import { header } from './capture/http';
import { samplePairs, TEMPLATE, writePairs } from './support/data';
import { failureOf } from './support/failing';
import { expect, test } from './support/fixtures';
import { TINY } from './support/settings';

test('a tab trains and writes with the smaller head, and its adapter fits the other', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await pema.connect(service.url, undefined, 'int8');
  await expect(pema.at('model')).toHaveAttribute('data-head-form', 'int8');
  const train = writePairs(folder, 'train.jsonl', samplePairs('train', 3));
  const load = { template: TEMPLATE, validationFraction: 0.34 };
  await pema.loadFiles({ train }, load);
  await pema.downloadMemory();
  const { losses, adapter } = await pema.train({ ...TINY, name: 'small' });
  expect(adapter).toBe('small');
  expect(losses.joint.length).toBeGreaterThan(0);
  expect(losses.joint.every(Number.isFinite)).toBe(true);
  const [{ input } = { input: '' }] = samplePairs('test', 1);
  expect((await pema.generate(input, { maxTokens: 4 })).mixture).toBeDefined();

  await pema.connect(service.url, undefined, 'int8');
  await expect(pema.at('model')).toHaveAttribute('data-cached', 'true');
  await pema.connect(service.url);
  await expect(pema.at('model')).toHaveAttribute('data-head-form', 'f16');
  await pema.loadFiles({ train }, load);
  expect(await pema.adapters()).toMatchObject([{ name: 'small', fits: true, selected: true }]);
  expect((await pema.generate(input, { maxTokens: 4 })).mixture).toBeDefined();

  const downloads = (await pema.ledger()).filter(({ request }) => request.includes('/v1/head'));
  expect(downloads.map(({ request }) => request)).toEqual(['GET /v1/head/int8', 'GET /v1/head']);
  const [int8 = Number.NaN, f16 = Number.NaN] = downloads.map(({ received }) => received);
  expect(int8 / f16).toBeLessThan(0.51);
});

test('the smaller head goes on where its download broke off', async ({ openTab, service }) => {
  const pema = await openTab(service);
  let passed = 0;
  service.proxy.tamper = (bytes, sent) => {
    if (/GET \/v1\/head\/int8 HTTP/.test(sent.toString('latin1'))) passed += bytes.length;
    return passed > 4e6 ? 'cut' : bytes;
  };
  expect(await failureOf(pema.connect(service.url, undefined, 'int8'))).toMatchObject({ section: 'connect', kind: 'unreachable' });
  service.proxy.tamper = undefined;
  await pema.connect(service.url, undefined, 'int8');
  const { exchanges } = understand(service.proxy.recordings, 'service');
  const heads = exchanges.filter(({ request }) => request.target === '/v1/head/int8' && request.method === 'GET');
  const [first, rest] = heads.map(({ request }) => header(request.headers, 'range'));
  expect([heads.length, first]).toEqual([2, undefined]);
  expect(rest).toMatch(/^bytes=\d{6,7}-$/);
});

test('a service without a smaller head is told from one that does not answer', async ({ openTab, service }) => {
  const pema = await openTab(service);
  service.proxy.tamper = (bytes) => Buffer.from(bytes.toString('latin1').replace('"head_int8"', '"head_int9"'), 'latin1');
  const failure = await failureOf(pema.connect(service.url, undefined, 'int8'));
  expect(failure).toMatchObject({ section: 'connect', kind: 'no-int8-head' });
  expect(failure.message).toContain('connect again without that choice');
  await pema.connect(service.url);
  await expect(pema.at('model')).toHaveAttribute('data-head-form', 'f16');
});
