// Which mixture: what an adapter offers, and validation pairs that choose.

import { understand } from './capture/capture';
import { sampleFiles, TEMPLATE } from './support/data';
import { failureOf } from './support/failing';
import { expect, test } from './support/fixtures';
import { CONTRASTS, TINY } from './support/settings';

const PAIRS = 3;
/** Mixtures that write for all of them; the others write for one. */
const FINALISTS = 3;

test('validation pairs choose among the mixtures that the adapter has', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await pema.connect(service.url);
  await pema.loadFiles(sampleFiles(folder, { train: 8, dev: 3, test: 2 }), { template: TEMPLATE });
  await pema.downloadMemory();

  await pema.train({ ...TINY, name: 'paper' });
  await expect(pema.at('mixing-contrast')).toBeDisabled();
  const tried = await pema.tune({ maxTokens: 3, limit: PAIRS });
  expect(tried.map(({ mixing }) => mixing)).not.toContain('contrast');

  await pema.train({ ...TINY, ...CONTRASTS, name: 'contrast', prefix: 1 });
  await expect(pema.at('tuning')).toBeHidden();
  await expect(pema.at('mixing-contrast')).toBeEnabled();
  const earlier = service.proxy.recordings.length;
  const all = await pema.tune({ maxTokens: 3, limit: PAIRS });
  expect(new Set(all.map(({ mixing }) => mixing))).toEqual(new Set(['arithmetic', 'geometric', 'contrast']));
  const best = all.filter((one) => one.best);
  expect(best).toHaveLength(1);
  const finalists = all.filter(({ pairs }) => pairs === PAIRS);
  expect(finalists).toHaveLength(FINALISTS);
  expect(best[0]?.chrf).toBe(Math.max(...finalists.map(({ chrf }) => chrf)));
  const chosen = await pema.mixture();
  expect(chosen.mixing).toBe(best[0]?.mixing);
  expect(chosen.lambda).toBeCloseTo(best[0]?.lambda ?? Number.NaN);

  // Each text's prompt was sent, and nothing but what was written after it.
  const { exchanges, problems } = understand(service.proxy.recordings.slice(earlier), 'service');
  expect(problems).toEqual([]);
  expect(exchanges.map(({ request }) => request.target)).toEqual(['/v1/generate']);
  const row = (await pema.ledger()).at(-1);
  expect(row?.carried).toMatch(new RegExp(`^prompts: ${all.length + FINALISTS * (PAIRS - 1)}, `));

  // With contrast it writes; an adapter without takes the choice back.
  const contrasted = await pema.generate('gotta run, ttyl', { maxTokens: 4, mixing: 'contrast', lambdaMax: 0.5 });
  expect(contrasted.lambdas.every((lambda) => lambda === 0.5)).toBe(true);
  await pema.selectAdapter('paper');
  expect((await pema.mixture()).mixing).toBe('geometric');
});

test('where the model is asked once there is no mixture to choose', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await pema.connect(service.url);
  await pema.loadFiles(sampleFiles(folder, { train: 6, dev: 2, test: 2 }), { template: TEMPLATE });
  await pema.downloadMemory('prompt');
  await pema.train({ ...TINY, name: 'private' });
  const refused = await failureOf(pema.tune({ maxTokens: 3, limit: PAIRS, consult: 0 }));
  expect(refused).toMatchObject({ section: 'tune', kind: 'not-yet' });
});

test('a residual adapter learns, and writes with the model', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await pema.connect(service.url);
  await pema.loadFiles(sampleFiles(folder, { train: 8, dev: 2, test: 2 }), { template: TEMPLATE });
  await pema.downloadMemory();
  const { losses } = await pema.train({ name: 'change', rank: 4, jointEpochs: 8 }, 'residual');
  const [first = Number.NaN, last = Number.NaN] = [losses.joint.at(0), losses.joint.at(-1)];
  expect(last).toBeLessThan(first);
  const written = await pema.generate('gotta run, ttyl', { maxTokens: 4, mixing: 'geometric', lambdaMax: 0.5 });
  expect(written.lambdas).toEqual(written.lambdas.map(() => 0.5));
  expect(written.mixture).not.toBe('');
  await expect(pema.at('mixing-contrast')).toBeDisabled();
});
