// A second round's memory: estimated without a word to the service, limited, and sent by hand alone.

import { understand } from './capture/capture';
import { samplePairs, TEMPLATE, writePairs } from './support/data';
import { failureOf } from './support/failing';
import { expect, test } from './support/fixtures';
import { TINY } from './support/settings';

test('a second memory is estimated here, made within its limit, and trained on', async ({ openTab, service, folder }) => {
  const pema = await openTab(service);
  await pema.connect(service.url);
  // What an adapter that copies has seen little of, it repeats from its prompt: here that is the target.
  const pairs = samplePairs('train', 4).map(({ input }) => ({ input, target: input }));
  await pema.loadFiles({ train: writePairs(folder, 'train.jsonl', pairs) }, { template: TEMPLATE, validationFraction: 0.34 });
  await pema.downloadMemory();
  await pema.train({ ...TINY, name: 'first' });

  const requests = (): string[] => understand(service.proxy.recordings, 'service').exchanges.map(({ request }) => request.target);
  const before = requests();
  const sequences = await pema.rehearse();
  expect(sequences).toBeGreaterThan(0);
  const refused = await failureOf(pema.regenerate(0));
  expect(refused).toMatchObject({ section: 'regenerate', kind: 'resembles-targets' });
  expect(refused.message).toContain('nothing was sent');
  expect(requests()).toEqual(before);

  expect(await pema.regenerate(100)).toBe(2);
  expect(requests().slice(before.length)).toEqual(['/v1/generate']);
  const row = (await pema.ledger()).at(-1);
  expect(row).toMatchObject({ kind: 'generation' });
  expect(row?.carried).toMatch(/^prompts: 4, .*generated tokens: [1-9]/);
  const { stopped } = await pema.train({ ...TINY, name: 'second', pairing: 'alignment' });
  expect(stopped).toBe(false);
  expect(requests()).toHaveLength(before.length + 1);
});
