// Pairs for tests, and files of them.

import { randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Files } from '../page';
import { SAMPLES } from './environment';

export interface Pair {
  readonly input: string;
  readonly target: string;
}

/** A prompt template of few tokens. */
export const TEMPLATE = 'Informal: {input}\nFormal:';

/** The prompt template that the site uses for the sample data, in the model's chat format. */
export const SAMPLE_TEMPLATE = (JSON.parse(readFileSync(join(SAMPLES, 'formality.json'), 'utf8')) as { template: string }).template;

export type Split = 'train' | 'dev' | 'test';

/** The first pairs of the sample data. */
export function samplePairs(split: Split, count: number): Pair[] {
  const lines = readFileSync(join(SAMPLES, `formality.${split}.jsonl`), 'utf8').trimEnd().split('\n');
  return lines.slice(0, count).map((line) => JSON.parse(line) as Pair);
}

/** Writes pairs as JSONL into a folder. */
export function writePairs(folder: string, name: string, pairs: readonly Pair[]): string {
  const path = join(folder, name);
  writeFileSync(path, pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(''));
  return path;
}

export interface Sizes {
  readonly train: number;
  readonly dev: number;
  readonly test: number;
}

/** The beginning of the sample data as files. */
export function sampleFiles(folder: string, { train, dev, test }: Sizes): Files {
  return {
    train: writePairs(folder, 'train.jsonl', samplePairs('train', train)),
    validation: writePairs(folder, 'dev.jsonl', samplePairs('dev', dev)),
    test: writePairs(folder, 'test.jsonl', samplePairs('test', test)),
  };
}

const SYLLABLES = ['zor', 'vaq', 'uil', 'wex', 'yub', 'kiv', 'jof', 'gax', 'nuz', 'pyq', 'thox', 'drev'];

/** A word that no text holds: five syllables of rare letters. */
function canary(): string {
  return Array.from({ length: 5 }, () => SYLLABLES[randomInt(SYLLABLES.length)] ?? '').join('');
}

export interface CanaryPairs {
  readonly pairs: readonly Pair[];
  readonly words: readonly string[];
}

/** Inputs of the sample data with targets that hold random words, new in each run. */
export function canaryPairs(split: Split, count: number): CanaryPairs {
  const made = samplePairs(split, count).map(({ input }) => {
    const words = [canary(), canary(), canary()];
    const [first = '', ...rest] = words;
    return { words, pair: { input, target: `${first[0]?.toUpperCase() ?? ''}${first.slice(1)} told the ${rest.join(' about the ')}.` } };
  });
  return { pairs: made.map(({ pair }) => pair), words: made.flatMap(({ words }) => words) };
}
