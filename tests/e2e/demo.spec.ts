// `cargo xtask demo --headless`: the whole job on the sample data, its figures and screenshots.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { chromium, expect, test } from '@playwright/test';

import { type LedgerRow, PemaPage } from './page';
import { launchOptions } from './support/browser';
import { samplePairs } from './support/data';

/** Set by `cargo xtask demo --headless`. */
const variable = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run cargo xtask demo --headless`);
  return value;
};

/** Bytes by what a request carried. */
function traffic(ledger: readonly LedgerRow[]): string[] {
  const kinds = [...new Set(ledger.map(({ kind }) => kind))];
  return kinds.map((kind) => {
    const rows = ledger.filter((row) => row.kind === kind);
    const sum = (side: 'sent' | 'received'): string => rows.reduce((total, row) => total + row[side], 0).toLocaleString('en');
    return `  ${kind}: ${rows.length} requests, ${sum('sent')} bytes sent, ${sum('received')} received`;
  });
}

const figures = (numbers: readonly number[]): string => numbers.map((number) => number.toPrecision(4)).join(' → ');

test('the whole job on the sample data', async ({}, info) => {
  const [site, service, shots] = [variable('PEMA_SITE_URL'), variable('PEMA_SERVICE_URL'), variable('PEMA_SHOTS')];
  mkdirSync(shots, { recursive: true });
  const context = await chromium.launchPersistentContext(info.outputPath('profile'), {
    ...launchOptions(),
    viewport: { width: 1280, height: 900 },
  });
  const pema = new PemaPage(context.pages()[0] ?? (await context.newPage()));
  let number = 0;
  const shoot = async (section: string, name = section): Promise<void> => {
    // A bar that stays at the window's top would lie across sections that are taller than the window.
    const style = '.top { position: static !important; }';
    await pema.at(`section-${section}`).screenshot({ path: join(shots, `${++number}-${name}.png`), style });
  };

  await pema.open(site, { device: 'auto', service });
  await pema.connect(service);
  await shoot('connect');
  const data = await pema.useSample();
  await shoot('data');
  const memory = await pema.downloadMemory();
  await shoot('memory');
  const { losses } = await pema.train({ name: 'formality' }, 'quick');
  await shoot('train');
  const [{ input } = { input: '' }] = samplePairs('test', 1);
  const generated = await pema.generate(input, { maxTokens: 48 });
  await shoot('generate');
  const tried = await pema.tune({ maxTokens: 48, limit: 32 });
  await shoot('generate', 'tune');
  const scores = await pema.evaluate({ maxTokens: 48 });
  await shoot('generate', 'evaluate');
  // Else the bar at the top would be in the middle.
  await pema.page.evaluate(() => scrollTo(0, 0));
  await pema.page.screenshot({ path: join(shots, `${++number}-page.png`), fullPage: true });
  const ledger = await pema.ledger();
  await context.close();

  console.log(
    [
      `pairs: ${data.train} to train on, ${data.validation} for validation, ${data.test} to test`,
      `pairs extracted (context, target token): ${memory.trainRows + memory.validationRows}`,
      `validation loss, the model’s own words: ${figures(losses.imitation)}`,
      `validation loss, the targets: ${figures(losses.joint)}`,
      `mixture chosen on validation pairs: ${tried.filter(({ best }) => best).map(({ mixing, lambda }) => `${mixing} ${lambda}`).join()} of ${tried.length}`,
      `chrF on ${scores.pairs} test pairs: ${scores.plm.chrf.toFixed(2)} model alone, ${scores.mixture.chrf.toFixed(2)} with the adapter`,
      `input: ${input}`,
      `model alone: ${generated.plm}`,
      `with the adapter: ${generated.mixture ?? ''}`,
      ...traffic(ledger),
    ].join('\n'),
  );
  expect(scores.pairs).toBe(data.test);
  expect(scores.mixture.chrf).toBeGreaterThan(scores.plm.chrf);
});
