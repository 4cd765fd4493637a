// The main job: Connect, Data, Memory, Train, Generate, with the real service and sample data.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { sampleFiles, samplePairs, SAMPLE_TEMPLATE } from './support/data';
import { expect, test } from './support/fixtures';
import { LEARNING } from './support/settings';

const SIZES = { train: 256, dev: 16, test: 40 };
const MAX_TOKENS = 40;
const MIXING = { mixing: 'arithmetic', schedule: 'constant', lambdaMax: 0.7 } as const;

test('a data owner trains an adapter, writes with it, and keeps it', async ({ openTab, service, site, folder }) => {
  test.setTimeout(12 * 60_000);
  const files = sampleFiles(folder, SIZES);
  const pema = await openTab(service);
  expect(await pema.device()).toBe('cpu');

  await pema.connect(service.url);
  expect(await pema.loadFiles(files, { template: SAMPLE_TEMPLATE })).toEqual({ train: SIZES.train, validation: SIZES.dev, test: SIZES.test });
  await expect(pema.at('one-line')).toBeChecked();
  const memory = await pema.downloadMemory();
  expect(memory.trainRows).toBeGreaterThan(10 * SIZES.train);
  expect(memory.cached).toBe(false);

  const { losses, adapter, stopped } = await pema.train({ ...LEARNING, name: 'formality' });
  expect({ adapter, stopped }).toEqual({ adapter: 'formality', stopped: false });
  for (const [first = Number.NaN, ...later] of [losses.reconstruction, losses.joint]) {
    expect(later.length).toBeGreaterThan(0);
    expect(Math.min(...later)).toBeLessThan(first);
  }

  const scores = await pema.evaluate({ maxTokens: MAX_TOKENS, ...MIXING });
  console.log(`chrF: model ${scores.plm.chrf.toFixed(1)}, with the adapter ${scores.mixture.chrf.toFixed(1)}`);
  expect(scores.pairs).toBe(SIZES.test);
  expect(scores.plm.chrf).toBeGreaterThan(10);
  expect(scores.mixture.chrf).toBeGreaterThan(scores.plm.chrf);

  const [{ input } = { input: '' }] = samplePairs('test', 1);
  const before = await pema.generate(input, { maxTokens: MAX_TOKENS, ...MIXING });
  expect(before.mixture).toBeTruthy();
  expect(before.lambdas[0]).toBeGreaterThan(0);
  const geometric = await pema.generate(input, { maxTokens: 8, ...MIXING, mixing: 'geometric' });
  expect(geometric.mixture).toBeTruthy();
  expect(Math.min(...geometric.lambdas)).toBeCloseTo(MIXING.lambdaMax);
  const file = await pema.exportAdapter();

  await test.step('a reload keeps the adapter', async () => {
    await pema.page.reload();
    await pema.settled();
    expect((await pema.adapters()).map(({ name }) => name)).toEqual(['formality']);
    await pema.connect(service.url);
    await pema.loadFiles(files, { template: SAMPLE_TEMPLATE });
    expect((await pema.adapters()).filter(({ selected, fits }) => selected && fits)).toHaveLength(1);
    expect((await pema.generate(input, { maxTokens: MAX_TOKENS, ...MIXING })).mixture).toBe(before.mixture);
    expect((await pema.downloadMemory()).cached).toBe(true);
    expect(Buffer.from(await pema.exportAdapter()).equals(Buffer.from(file))).toBe(true);
  });

  await test.step('another browser imports it and writes the same', async () => {
    const path = join(folder, 'formality.safetensors');
    writeFileSync(path, file);
    const other = await openTab(service, { site });
    await other.connect(service.url);
    await other.loadFiles(files, { template: SAMPLE_TEMPLATE });
    await other.importAdapter(path);
    expect((await other.generate(input, { maxTokens: MAX_TOKENS, ...MIXING })).mixture).toBe(before.mixture);
  });
});
