// Altered bytes, a service that dies, a full disk: nothing that was downloaded or trained is lost.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { understand } from './capture/capture';
import { header } from './capture/http';
import type { Tamper } from './capture/proxy';
import type { PemaPage } from './page';
import { samplePairs, TEMPLATE, writePairs } from './support/data';
import { failureOf } from './support/failing';
import { expect, test } from './support/fixtures';
import type { Service } from './support/service';
import { TINY } from './support/settings';

const SHARD = /GET \/v1\/memories\/[0-9a-f]{32}\/shards\/\d+ HTTP/;
const HEAD = /GET \/v1\/head HTTP/;

/** Applies to the answer of the latest request if that is for a shard, or for the head. */
const onBody = (of: RegExp, change: (bytes: Buffer) => Buffer | 'cut'): Tamper => (bytes, sent) => {
  const text = sent.toString('latin1');
  const latest = text.slice(Math.max(text.lastIndexOf('\r\n\r\n', text.length - 5), 0));
  // Heads of answers come alone or before some of the body; what is long is body at its end.
  return of.test(latest) && bytes.length > 1500 ? change(bytes) : bytes;
};

async function loadSome(pema: PemaPage, service: Service, folder: string, count: number): Promise<void> {
  await pema.connect(service.url);
  const train = writePairs(folder, 'train.jsonl', samplePairs('train', count));
  await pema.loadFiles({ train }, { template: TEMPLATE, validationFraction: 0.34 });
}

test('an altered shard is refused and downloaded again', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await loadSome(pema, service, folder, 3);
  service.proxy.tamper = onBody(SHARD, (bytes) => {
    const altered = Buffer.from(bytes);
    altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
    return altered;
  });
  const failure = await failureOf(pema.downloadMemory());
  expect(failure).toMatchObject({ section: 'memory', kind: 'altered' });
  expect(failure.message).toMatch(/altered.*try again/s);
  service.proxy.tamper = undefined;
  expect((await pema.downloadMemory()).trainRows).toBeGreaterThan(0);
});

test('a torn shard is downloaded again', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await loadSome(pema, service, folder, 3);
  let cuts = 0;
  service.proxy.tamper = onBody(SHARD, (bytes) => (cuts++ === 0 ? 'cut' : bytes));
  expect((await pema.downloadMemory()).trainRows).toBeGreaterThan(0);
  expect(cuts).toBeGreaterThan(1);
});

test('a download goes on where it was when the service dies and comes back', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  // Two shards of 4 MiB.
  await loadSome(pema, service, folder, 180);
  let died: Promise<void> | undefined;
  service.proxy.tamper = (bytes, sent) => {
    // The second shard is asked for once the first is stored.
    if (/shards\/1 HTTP/.test(sent.toString('latin1'))) died ??= service.process.kill();
    return died ? 'cut' : bytes;
  };
  const download = pema.downloadMemory().catch((error: unknown) => error);
  await expect.poll(() => died !== undefined, { timeout: 240_000 }).toBe(true);
  await died;
  service.proxy.tamper = undefined;
  await service.process.start();
  // The tab waits for a while by itself; after that it says so and the user tries again.
  const outcome = await download;
  const memory = outcome instanceof Error ? await pema.downloadMemory() : outcome;
  expect(memory).toMatchObject({ cached: false });
  const { exchanges } = understand(service.proxy.recordings, 'service');
  const whole = exchanges.filter(({ request, response }) => /shards\/0$/.test(request.target) && response?.status === 200 && response.complete);
  expect(whole.filter(({ request }) => request.method === 'GET')).toHaveLength(1);
});

test('the head goes on where its download broke off', async ({ openTab, service }) => {
  const pema = await openTab(service);
  let passed = 0;
  service.proxy.tamper = onBody(HEAD, (bytes) => {
    passed += bytes.length;
    return passed > 4e6 ? 'cut' : bytes;
  });
  const failure = await failureOf(pema.connect(service.url));
  expect(failure).toMatchObject({ section: 'connect', kind: 'unreachable' });
  expect(failure.message).toContain('what was downloaded is kept');
  service.proxy.tamper = undefined;
  await pema.connect(service.url);
  const { exchanges } = understand(service.proxy.recordings, 'service');
  const heads = exchanges.filter(({ request }) => request.target === '/v1/head' && request.method === 'GET');
  const [first, rest] = heads.map(({ request }) => header(request.headers, 'range'));
  expect([heads.length, first]).toEqual([2, undefined]);
  expect(rest).toMatch(/^bytes=\d{6,7}-$/);
});

test('generation goes on after the service died', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await loadSome(pema, service, folder, 3);
  const generation = failureOf(pema.generate('tell me a long story about a dog', { maxTokens: 400, oneLine: false }));
  await expect(pema.at('tokens-plm')).not.toBeEmpty({ timeout: 60_000 });
  await service.process.kill();
  const failure = await generation;
  expect(failure).toMatchObject({ section: 'generate', kind: 'unreachable' });
  await service.process.start();
  expect((await pema.generate('hello', { maxTokens: 4 })).plm).not.toBe('');
});

test('a full disk says so, and the download goes on when there is room', async ({ openTab, service, site, folder }) => {
  const pema = await openTab(service);
  await loadSome(pema, service, folder, 3);
  const { page } = pema;
  const session = await page.context().newCDPSession(page);
  const used = await page.evaluate(async () => (await navigator.storage.estimate()).usage ?? 0);
  await session.send('Storage.overrideQuotaForOrigin', { origin: site.origin, quotaSize: used + 1024 });
  const failure = await failureOf(pema.downloadMemory());
  expect(failure).toMatchObject({ section: 'memory', kind: 'storage-full' });
  expect(failure.message).toContain('storage for this site is full');
  await session.send('Storage.overrideQuotaForOrigin', { origin: site.origin });
  expect((await pema.downloadMemory()).trainRows).toBeGreaterThan(0);
});

test('a full disk does not cost a trained adapter', async ({ openTab, service, site, folder }) => {
  const pema = await openTab(service);
  await loadSome(pema, service, folder, 3);
  await pema.downloadMemory();
  const { page } = pema;
  const session = await page.context().newCDPSession(page);
  const used = await page.evaluate(async () => (await navigator.storage.estimate()).usage ?? 0);
  await session.send('Storage.overrideQuotaForOrigin', { origin: site.origin, quotaSize: used + 1024 });
  const failure = await failureOf(pema.train({ ...TINY, name: 'mine' }));
  expect(failure).toMatchObject({ section: 'train', kind: 'storage-full' });
  expect(failure.message).toContain('export it as a file now');
  expect(await pema.adapters()).toMatchObject([{ name: 'mine', selected: true, fits: true }]);
  expect((await pema.generate('hi there', { maxTokens: 4 })).mixture).toBeDefined();
  const file = await pema.exportAdapter();

  await session.send('Storage.overrideQuotaForOrigin', { origin: site.origin });
  const path = join(folder, 'mine.safetensors');
  writeFileSync(path, file);
  await pema.importAdapter(path);
  await page.reload();
  await pema.settled();
  expect((await pema.adapters()).map(({ name }) => name)).toEqual(['mine']);
});
