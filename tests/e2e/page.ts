// The page, as tests use it: what a user can do, and exact numbers instead of formatted text.

import { readFile } from 'node:fs/promises';
import type { Locator, Page } from '@playwright/test';

import type { Contexts, HeadForm, Phase, TrainSettings } from '../../web/src/protocol';

export type Preset = 'quick' | 'context' | 'residual' | 'paper';
export type Device = 'auto' | 'webgpu' | 'cpu';
export type Schedule = 'linear' | 'quadratic' | 'constant' | 'learned';
export type Section = 'open' | 'connect' | 'data' | 'memory' | 'train' | 'generate' | 'tune' | 'evaluate' | 'regenerate' | 'adapters';

export interface Files {
  train: string;
  validation?: string;
  test?: string;
}

export interface DataOptions {
  inputColumn?: string;
  targetColumn?: string;
  template?: string;
  validationFraction?: number;
}

export interface DataCounts {
  train: number;
  validation: number;
  test: number;
}

export interface TrainResult {
  /** Validation losses in their order, by phase. */
  losses: Record<Phase, number[]>;
  /** Name of the adapter; undefined when the run gave none. */
  adapter: string | undefined;
  stopped: boolean;
}

export interface Sampling {
  temperature: number;
  topK: number;
  topP: number;
  seed: number;
}

export type MixingKind = 'arithmetic' | 'geometric' | 'contrast';

/** A mixture that was tried on validation pairs. */
export interface Tried {
  mixing: string;
  lambda: number;
  pairs: number;
  chrf: number;
  best: boolean;
}

export interface DecodingOptions {
  mixing?: MixingKind;
  schedule?: Schedule;
  lambdaMax?: number;
  maxTokens?: number;
  oneLine?: boolean;
  /** Tokens at which the model is asked, 0 for none; at all of them if absent. */
  consult?: number;
  /** The adapter's entropy in nats above which the model is asked. */
  consultAbove?: number;
  sampling?: Sampling;
}

export interface Generated {
  /** Empty where the model was not to learn what is generated. */
  plm: string;
  /** Undefined without an adapter. */
  mixture: string | undefined;
  /** Weights of the adapter at the mixture's tokens. */
  lambdas: number[];
  stopped: boolean;
}

export interface Scores {
  chrf: number;
  bleu: number;
  exact: number;
}

export interface Evaluated {
  pairs: number;
  plm: Scores;
  mixture: Scores;
}

export interface Adapter {
  id: string;
  name: string;
  rank: number;
  fits: boolean;
  selected: boolean;
}

export interface LedgerRow {
  number: number;
  kind: 'request' | 'prompts' | 'generation';
  request: string;
  carried: string;
  sent: number;
  received: number;
  status: number;
}

/** A task ended with a failure that the page shows. */
export class PageFailure extends Error {
  constructor(readonly section: Section, readonly kind: string, message: string) {
    super(`${section}: ${message} [${kind}]`);
  }
}

/** Minutes, in milliseconds: training and extraction are slow on two cores. */
const TASK_TIMEOUT = 15 * 60_000;
const SETTLE_TIMEOUT = 60_000;

const number = (text: string | null): number => (text === null ? Number.NaN : Number(text));

export class PemaPage {
  constructor(readonly page: Page) {}

  /** Opens the site and waits for its worker. */
  async open(siteUrl: string, options: { device?: Device; service?: string } = {}): Promise<void> {
    const url = new URL(siteUrl);
    if (options.device) url.searchParams.set('device', options.device);
    if (options.service) url.searchParams.set('service', options.service);
    await this.page.goto(url.href);
    await this.settled();
  }

  /** Waits until the worker is up and no task runs. */
  async settled(timeout = SETTLE_TIMEOUT): Promise<void> {
    await this.page.locator('#app[data-busy="none"]:not([data-ended="0"])').waitFor({ timeout });
  }

  /** The device in use. */
  async device(): Promise<string | null> {
    return this.at('device').getAttribute('data-device');
  }

  /** Connects; the page may load itself again to be bound to the service. */
  async connect(url: string, key?: string, head: HeadForm = 'f16'): Promise<void> {
    await this.settled();
    await this.dismiss('connect');
    await this.at('service-url').fill(url);
    await this.at('service-key').fill(key ?? '');
    await this.at('smaller-head').setChecked(head === 'int8');
    // A page loaded again counts from zero, and opens its worker before it connects.
    await this.page.evaluate(() => {
      document.documentElement.dataset['before'] = document.querySelector<HTMLElement>('#app')?.dataset['ended'] ?? '0';
    });
    await this.at('connect').click();
    await this.page.waitForFunction(
      () => {
        const app = document.querySelector<HTMLElement>('#app');
        if (!app || app.dataset['busy'] !== 'none') return false;
        const ended = Number(app.dataset['ended']) > Number(document.documentElement.dataset['before'] ?? '1');
        return ended || document.querySelector('[data-testid="failure-connect"]') !== null;
      },
      undefined,
      { timeout: TASK_TIMEOUT },
    );
    await this.throwFailure('connect');
  }

  /** Loads the sample data of the site. */
  async useSample(options: DataOptions = {}): Promise<DataCounts> {
    await this.task('data', () => this.at('use-sample').click());
    return this.load(options);
  }

  /** Loads files by their paths. */
  async loadFiles(files: Files, options: DataOptions = {}): Promise<DataCounts> {
    if (files.validation) await this.at('file-validation').setInputFiles(files.validation);
    if (files.test) await this.at('file-test').setInputFiles(files.test);
    await this.task('data', () => this.at('file-train').setInputFiles(files.train));
    return this.load(options);
  }

  async downloadMemory(contexts: Contexts = 'steps'): Promise<{ rows: number; trainRows: number; validationRows: number; cached: boolean }> {
    await this.pick(`contexts-${contexts}`);
    await this.task('memory', () => this.at('download-memory').click());
    const memory = this.at('memory');
    return {
      rows: number(await memory.getAttribute('data-rows')),
      trainRows: number(await memory.getAttribute('data-train-rows')),
      validationRows: number(await memory.getAttribute('data-validation-rows')),
      cached: (await memory.getAttribute('data-cached')) === 'true',
    };
  }

  /** Trains, and waits for the end. */
  async train(settings: Partial<TrainSettings> = {}, preset?: Preset): Promise<TrainResult> {
    if (preset) await this.pick(`preset-${preset}`);
    const { name, ...others } = settings;
    if (name !== undefined) await this.at('setting-name').fill(name);
    if (Object.keys(others).length > 0) {
      const advanced = this.at('advanced');
      if ((await advanced.getAttribute('open')) === null) await advanced.locator('summary').click();
    }
    for (const [key, value] of Object.entries(others)) {
      const control = this.at(`setting-${key}`);
      // What this memory cannot teach is not used.
      if (await control.isDisabled()) continue;
      if (key === 'pairing') await control.selectOption(String(value));
      else await (typeof value === 'boolean' ? control.setChecked(value) : control.fill(String(value)));
    }
    await this.task('train', () => this.at('train').click());
    return this.trained();
  }

  /** Goes on with the stopped run, and waits for the end. */
  async resume(): Promise<TrainResult> {
    await this.task('train', () => this.at('resume').click());
    return this.trained();
  }

  /** Estimates what a second round would tell, and gives the share of the targets' sequences. */
  async rehearse(): Promise<number> {
    const regeneration = this.at('regeneration');
    if ((await regeneration.getAttribute('open')) === null) await regeneration.locator('summary').click();
    await this.task('regenerate', () => this.at('rehearse').click());
    return Number(await this.at('rehearsal').getAttribute('data-sequences'));
  }

  /** Makes a second round's memory within a limit in percent, and gives its round. */
  async regenerate(limit: number): Promise<number> {
    await this.at('overlap-limit').fill(String(limit));
    this.page.once('dialog', (dialog) => void dialog.accept());
    await this.task('regenerate', () => this.at('regenerate').click());
    return Number(await this.at('memory').getAttribute('data-round'));
  }

  /** Stops the running task. */
  async stop(): Promise<void> {
    await this.page.locator('button.stop:not([hidden]):not([disabled])').click();
  }

  async generate(input: string, options: DecodingOptions = {}): Promise<Generated> {
    await this.at('generate-input').fill(input);
    await this.decoding(options);
    await this.task('generate', () => this.at('generate').click());
    const outputs = this.at('outputs');
    const lambdas = await this.at('tokens-mixture').locator('[data-lambda]').evaluateAll((all) => all.map((one) => Number(one.getAttribute('data-lambda'))));
    return {
      plm: (await outputs.getAttribute('data-plm')) ?? '',
      mixture: (await outputs.getAttribute('data-mixture')) ?? undefined,
      lambdas,
      stopped: (await outputs.getAttribute('data-stopped')) === 'true',
    };
  }

  /** Tries mixtures on validation pairs; the best is chosen from then on. */
  async tune(options: DecodingOptions & { limit: number }): Promise<Tried[]> {
    await this.decoding(options);
    await this.at('tune-limit').fill(String(options.limit));
    await this.task('tune', () => this.at('tune').click());
    return this.at('tried').evaluateAll((all) =>
      all.map(({ dataset }) => ({
        mixing: dataset['mixing'] ?? '',
        lambda: Number(dataset['lambda']),
        pairs: Number(dataset['pairs']),
        chrf: Number(dataset['chrf']),
        best: dataset['best'] === 'true',
      })),
    );
  }

  /** The mixture that is chosen: how, and the largest weight. */
  async mixture(): Promise<{ mixing: string; lambda: number }> {
    const mixing = await this.page.locator('[data-testid^="mixing-"]:checked').getAttribute('value');
    return { mixing: mixing ?? '', lambda: Number(await this.at('lambda-max').inputValue()) };
  }

  /** Generates for the test pairs. */
  async evaluate(options: DecodingOptions & { limit?: number } = {}): Promise<Evaluated> {
    await this.decoding(options);
    if (options.limit !== undefined) await this.at('evaluate-limit').fill(String(options.limit));
    await this.task('evaluate', () => this.at('evaluate').click());
    return {
      pairs: number(await this.at('scores').getAttribute('data-pairs')),
      plm: await this.scores('scores-plm'),
      mixture: await this.scores('scores-mixture'),
    };
  }

  /** Exports an adapter, the one in use unless `name` says another; its file's bytes. */
  async exportAdapter(name?: string): Promise<Uint8Array> {
    const which = name === undefined ? '[data-selected="true"]' : `[data-name=${JSON.stringify(name)}]`;
    const row = this.page.locator(`[data-testid="adapter"]${which}`).first();
    const [download] = await Promise.all([this.page.waitForEvent('download'), row.getByTestId('adapter-export').click()]);
    return new Uint8Array(await readFile(await download.path()));
  }

  /** Imports an adapter's file. */
  async importAdapter(path: string): Promise<void> {
    await this.task('adapters', () => this.at('import-adapter').setInputFiles(path));
  }

  async selectAdapter(name: string): Promise<void> {
    const row = this.page.locator(`[data-testid="adapter"][data-name=${JSON.stringify(name)}]`).first();
    await this.task('adapters', () => row.getByTestId('adapter-select').click());
  }

  async adapters(): Promise<Adapter[]> {
    return this.at('adapter').evaluateAll((all) =>
      all.map(({ dataset }) => ({
        id: dataset['id'] ?? '',
        name: dataset['name'] ?? '',
        rank: Number(dataset['rank']),
        fits: dataset['fits'] === 'true',
        selected: dataset['selected'] === 'true',
      })),
    );
  }

  /** Every request that the page lists, oldest first. */
  async ledger(): Promise<LedgerRow[]> {
    const rows = await this.at('ledger-row').evaluateAll((all) =>
      all.map(({ dataset }) => ({
        number: Number(dataset['number']),
        kind: dataset['kind'] ?? '',
        request: dataset['request'] ?? '',
        carried: dataset['carried'] ?? '',
        sent: Number(dataset['sent']),
        received: Number(dataset['received']),
        status: Number(dataset['status']),
      })),
    );
    return (rows as LedgerRow[]).sort((a, b) => a.number - b.number);
  }

  /** The message that a section shows, if it shows one. */
  async failure(section: Section): Promise<string | undefined> {
    const notice = this.at(`failure-${section}`);
    if ((await notice.count()) === 0) return undefined;
    return (await notice.locator('p, li').allTextContents()).join('\n');
  }

  /** Its stable short name. */
  async failureKind(section: Section): Promise<string | undefined> {
    const notice = this.at(`failure-${section}`);
    return (await notice.count()) === 0 ? undefined : ((await notice.getAttribute('data-kind')) ?? undefined);
  }

  /** Deletes everything that the site has stored. */
  async forget(): Promise<void> {
    const panel = this.at('device-panel');
    if ((await panel.getAttribute('open')) === null) await panel.locator('summary').click();
    this.page.once('dialog', (dialog) => void dialog.accept());
    await this.task('open', () => this.at('forget').click());
  }

  /** An element by its test id. */
  at(id: string): Locator {
    return this.page.getByTestId(id);
  }

  /** Does what starts a task, waits for its end, and throws what the page then shows as failed. */
  private async task(section: Section, start: () => Promise<unknown>): Promise<void> {
    await this.settled(TASK_TIMEOUT);
    await this.dismiss(section);
    const app = this.page.locator('#app');
    const before = number(await app.getAttribute('data-ended'));
    await start();
    await this.page.waitForFunction(
      ({ before, notice }) => {
        const app = document.querySelector<HTMLElement>('#app');
        if (!app || app.dataset['busy'] !== 'none') return false;
        return Number(app.dataset['ended']) > before || document.querySelector(notice) !== null;
      },
      { before, notice: `[data-testid="failure-${section}"]` },
      { timeout: TASK_TIMEOUT },
    );
    await this.throwFailure(section);
  }

  /** Takes an earlier failure off the page. */
  private async dismiss(section: Section): Promise<void> {
    const notice = this.at(`dismiss-${section}`);
    if ((await notice.count()) === 0) return;
    await notice.click();
    await notice.waitFor({ state: 'detached' });
  }

  private async throwFailure(section: Section): Promise<void> {
    const message = await this.failure(section);
    if (message !== undefined) throw new PageFailure(section, (await this.failureKind(section)) ?? '', message);
  }

  private async load(options: DataOptions): Promise<DataCounts> {
    if (options.inputColumn !== undefined) await this.at('input-column').selectOption(options.inputColumn);
    if (options.targetColumn !== undefined) await this.at('target-column').selectOption(options.targetColumn);
    if (options.template !== undefined) await this.at('template').fill(options.template);
    if (options.validationFraction !== undefined) await this.at('validation-fraction').fill(String(options.validationFraction));
    await this.task('data', () => this.at('load-data').click());
    const summary = this.at('data-summary');
    return {
      train: number(await summary.getAttribute('data-train')),
      validation: number(await summary.getAttribute('data-validation')),
      test: number(await summary.getAttribute('data-test')),
    };
  }

  private async trained(): Promise<TrainResult> {
    const losses = (phase: Phase): Promise<number[]> =>
      this.page
        .locator(`[data-testid="validation"][data-phase="${phase}"]`)
        .evaluateAll((all) => all.map((one) => Number(one.getAttribute('data-loss'))));
    const result = this.at('trained');
    return {
      losses: { reconstruction: await losses('reconstruction'), imitation: await losses('imitation'), joint: await losses('joint') },
      adapter: (await result.getAttribute('data-name')) ?? undefined,
      stopped: (await result.getAttribute('data-stopped')) === 'true',
    };
  }

  /** Chooses a radio button with the keyboard: it is drawn as its label, and a page that still grows would move it from under a pointer. */
  private async pick(id: string): Promise<void> {
    await this.at(id).press('Space');
    if (!(await this.at(id).isChecked())) throw new Error(`${id} was not chosen`);
  }

  private async decoding({ mixing, schedule, lambdaMax, maxTokens, oneLine, consult, consultAbove, sampling }: DecodingOptions): Promise<void> {
    if (await this.at('private-offer').isVisible()) {
      await this.pick(`asking-${consult !== undefined ? 'private' : consultAbove !== undefined ? 'unsure' : 'always'}`);
    }
    if (consult !== undefined) await this.at('consult').fill(String(consult));
    if (consultAbove !== undefined) await this.at('consult-above').fill(String(consultAbove));
    if (mixing !== undefined) await this.pick(`mixing-${mixing}`);
    if (schedule !== undefined) await this.pick(`schedule-${schedule}`);
    if (lambdaMax !== undefined) await this.at('lambda-max').fill(String(lambdaMax));
    if (maxTokens !== undefined) await this.at('max-tokens').fill(String(maxTokens));
    if (oneLine !== undefined) await this.at('one-line').setChecked(oneLine);
    await this.pick(sampling ? 'mode-sampled' : 'mode-greedy');
    if (!sampling) return;
    await this.at('temperature').fill(String(sampling.temperature));
    await this.at('top-k').fill(String(sampling.topK));
    await this.at('top-p').fill(String(sampling.topP));
    await this.at('sampling-seed').fill(String(sampling.seed));
  }

  /** Not numbers where there is no such row: the model was not asked. */
  private async scores(id: string): Promise<Scores> {
    const row = this.at(id);
    if ((await row.count()) === 0) return { chrf: Number.NaN, bleu: Number.NaN, exact: Number.NaN };
    return {
      chrf: number(await row.getAttribute('data-chrf')),
      bleu: number(await row.getAttribute('data-bleu')),
      exact: number(await row.getAttribute('data-exact')),
    };
  }
}
