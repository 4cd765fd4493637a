// The privacy capture: every byte that a tab sends from Connect to the end of Train.

import type { HeadForm } from '../../web/src/protocol';
import { understand } from './capture/capture';
import type { PemaPage } from './page';
import { type Kind, promptsAskedFor, violations } from './privacy/allowlist';
import { Canaries } from './privacy/canaries';
import { siteViolations } from './privacy/site';
import { weightsOf } from './support/adapter';
import { canaryPairs, samplePairs, TEMPLATE, writePairs } from './support/data';
import { expect, test } from './support/fixtures';
import type { Service } from './support/service';
import { CONTRASTS, TINY } from './support/settings';
import type { Site } from './support/site';
import { ModelTexts } from './support/tokenizer';

interface Findings {
  readonly pema: PemaPage;
  /** Of the memory. */
  readonly rows: number;
  /** Of all prompts. */
  readonly promptTokens: number;
  /** What is not on the allow-list. */
  readonly calls: readonly string[];
  /** Secrets. */
  readonly secrets: readonly string[];
  /** Whether every prompt was seen, without which a clean capture proves nothing. */
  readonly sawAllPrompts: boolean;
  readonly canaries: number;
}

interface Job {
  readonly service: Service;
  readonly site: Site;
  /** Where the pairs are written. */
  readonly folder: string;
  readonly contexts?: Kind;
  readonly head?: HeadForm;
  /** Its name tells the leaky site what to betray. */
  readonly trainFile: string;
  readonly openTab: () => Promise<PemaPage>;
}

/** Does the job up to the end of Train, and looks at what was sent. */
async function captureJob({ service, site, folder, contexts = 'steps', head, trainFile, openTab }: Job): Promise<Findings> {
  const earlier = site.proxy.recordings.length;
  const pema = await openTab();
  const elsewhere: string[] = [];
  pema.page.context().on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== 'blob:' && protocol !== 'data:' && ![site.origin, service.url].includes(origin)) elsewhere.push(request.url());
  });
  const [train, dev] = [canaryPairs('train', 8), canaryPairs('dev', 3)];
  const words = [...train.words, ...dev.words];
  // New words in each run: this is what to look for when one fails.
  console.log(`canaries: ${words.slice(0, 3).join(' ')} …`);
  const files = { train: writePairs(folder, trainFile, train.pairs), validation: writePairs(folder, 'dev.jsonl', dev.pairs) };

  await pema.connect(service.url, undefined, head);
  await pema.loadFiles(files, { template: TEMPLATE });
  const memory = await pema.downloadMemory(contexts);
  await pema.train({ ...TINY, name: 'canary' });
  if (contexts === 'steps') await pema.train({ ...TINY, ...CONTRASTS, name: 'canary', pairing: 'alignment' });
  const toService = understand(service.proxy.recordings, 'service');
  const toSite = understand(site.proxy.recordings.slice(earlier), 'site');
  const weights = weightsOf(await pema.exportAdapter());
  expect(weights.length).toBeGreaterThan(1000);

  const texts = await ModelTexts.of(service.direct);
  const pairs = [...train.pairs, ...dev.pairs].map((pair) => texts.pair(pair));
  const canaries = new Canaries({
    words,
    targets: pairs.map(({ target }) => target),
    prompts: pairs.map(({ prompt }) => prompt.tokens),
    weights,
  });
  const { origin } = site;
  const page = new URL(pema.page.url());
  const prompts = pairs.map(({ prompt }) => prompt);
  const allowed = { host: new URL(service.url).host, origin, key: undefined, model: texts.card.model, kind: contexts, prompts };
  const asked = promptsAskedFor(toService);
  return {
    pema,
    rows: memory.rows,
    promptTokens: pairs.reduce((sum, { prompt }) => sum + prompt.tokens.length, 0),
    calls: [
      ...elsewhere.map((url) => `${url} is past the recording`),
      ...violations(toService, allowed),
      ...siteViolations(toSite, site.files, page.pathname + page.search, { host: page.host, origin, key: undefined }),
    ],
    secrets: canaries.find([...toService.sent, ...toSite.sent]),
    sawAllPrompts: pairs.every(({ prompt }) => asked.has(JSON.stringify(prompt.tokens))),
    canaries: canaries.size,
  };
}

test('nothing leaves the tab from Connect to the end of Train but what the design allows', async ({ openTab, service, site, folder }) => {
  const { pema, calls, secrets, sawAllPrompts, canaries } = await captureJob({
    service,
    site,
    folder,
    trainFile: 'train.jsonl',
    openTab: () => openTab(service),
  });
  expect(secrets).toEqual([]);
  expect(calls).toEqual([]);
  expect(sawAllPrompts).toBe(true);
  expect(canaries).toBeGreaterThan(1000);

  await test.step('the page lists exactly the requests that were made', async () => {
    const { exchanges } = understand(service.proxy.recordings, 'service');
    const made = exchanges.filter(({ request }) => request.method !== 'OPTIONS');
    const recorded = made.map(({ request }) => `${request.method} ${request.target}, ${request.body.length} bytes`);
    const listed = (await pema.ledger()).map(({ request, sent }) => `${request}, ${sent} bytes`);
    expect(listed.sort()).toEqual(recorded.sort());
  });
});

for (const contexts of ['prompt', 'prompt-all'] as const) {
  test(`with contexts of the prompt no budget leaves, and private generation sends no token: ${contexts}`, async ({ openTab, service, site, folder }) => {
    const openHere = (): Promise<PemaPage> => openTab(service);
    const found = await captureJob({ service, site, folder, contexts, head: 'int8', trainFile: 'train.jsonl', openTab: openHere });
    expect(found).toMatchObject({ secrets: [], calls: [], sawAllPrompts: true, rows: contexts === 'prompt' ? 11 : found.promptTokens });
    const { pema } = found;
    const [pair = { input: '', target: '' }] = samplePairs('test', 1);
    const { tokens } = (await ModelTexts.of(service.direct)).pair(pair).prompt;
    // The preset's adapter attends over all the prompt's tokens where the memory holds them.
    const start = { type: 'start', prompt: tokens, logits: { mode: 'none' }, ...(contexts === 'prompt' ? {} : { states: 'all' }) };

    // Mixing at the first token needs nothing but the prompt's context either, and no distribution over
    // the vocabulary is so unsure as the last one asks.
    for (const [asking, mixed, kind] of [[{ consult: 0 }, 0, 'prompts'], [{ consult: 1 }, 1, 'prompts'], [{ consultAbove: 20 }, 0, 'generation']] as const) {
      const earlier = service.proxy.recordings.length;
      const { plm, mixture, lambdas } = await pema.generate(pair.input, { maxTokens: 12, schedule: 'constant', lambdaMax: 0.5, ...asking });
      expect(plm).toBe('');
      expect(mixture).toBeTruthy();
      expect(lambdas.length).toBeGreaterThan(2);
      expect(lambdas.every((lambda, step) => lambda === (step < mixed ? 0.5 : 1))).toBe(true);

      const { exchanges, problems } = understand(service.proxy.recordings.slice(earlier), 'service');
      expect(problems).toEqual([]);
      expect(exchanges.map(({ request }) => request.target)).toEqual(['/v1/generate']);
      const spoken = exchanges.flatMap(({ messages }) => messages).filter(({ kind }) => kind !== 'close');
      expect(spoken.map(({ payload }) => JSON.parse(payload.toString('utf8')) as unknown)).toEqual([start]);

      const row = (await pema.ledger()).at(-1);
      expect(row).toMatchObject({ kind, carried: `prompts: 1, of ${tokens.length} tokens; generated tokens: 0` });
      expect(row?.sent).toBe(JSON.stringify(start).length);
    }
  });
}

const LEAKS = [
  { kind: 'text-in-query', secret: /^the word .*GET \/healthz/, call: /healthz\?q=.*not a call/ },
  { kind: 'ids-in-body', secret: /^the target's ids .*POST \/v1\/memories, body/, call: /POST \/v1\/memories: .*fields/ },
  { kind: 'adapter-in-frame', secret: /^weights .*GET \/v1\/generate, binary message/, call: /generate: \d+ messages of a stream/ },
];
for (const { kind, secret, call } of LEAKS) {
  test(`a planted leak is found: ${kind}`, async ({ openTab, service, leakySite, folder }) => {
    const { calls, secrets } = await captureJob({
      service,
      site: leakySite,
      folder,
      trainFile: `leak-${kind}.jsonl`,
      openTab: () => openTab(service, { site: leakySite }),
    });
    expect(secrets).toContainEqual(expect.stringMatching(secret));
    expect(calls).toContainEqual(expect.stringMatching(call));
  });
}
