// Canaries: what must not be found in anything that a tab sent.

import type { Sent } from '../capture/capture';
import { Needles } from './needles';
import { views } from './views';

/** What only the data owner may know. */
export interface Secrets {
  /** Words that are in the targets and nowhere else. */
  readonly words: readonly string[];
  /** Token ids of the targets, as the tab has them. */
  readonly targets: readonly (readonly number[])[];
  /** Token ids that the service may see; what a target shares with them is no secret. */
  readonly prompts: readonly (readonly number[])[];
  /** Weights of the trained adapter, f32. */
  readonly weights: Buffer;
}

/** Ids in a row that are told from chance. */
const GRAM = 4;
/** Shorter byte strings occur by chance. */
const SHORTEST = 7;
/** Bytes of weights in a row that are told from chance. */
const WINDOW = 16;
/** A window of fewer different bytes, such as zeros, says nothing. */
const DIFFERENT = 6;

/** Looks for secrets. */
export class Canaries {
  /** In lower case. */
  readonly #text = new Needles();
  readonly #binary = new Needles();

  constructor(secrets: Secrets) {
    for (const word of secrets.words) this.#text.add(Buffer.from(word.toLowerCase(), 'latin1'), `the word ${word}`);
    const known = new Set(secrets.prompts.flatMap(grams).map(String));
    for (const gram of secrets.targets.flatMap(grams)) {
      if (known.has(String(gram))) continue;
      const label = `the target's ids ${gram.join(' ')}`;
      for (const bytes of idForms(gram)) if (bytes.length >= SHORTEST) this.#binary.add(bytes, label);
    }
    for (let start = 0; start + WINDOW <= secrets.weights.length; start += 4) {
      const window = secrets.weights.subarray(start, start + WINDOW);
      if (new Set(window).size >= DIFFERENT) this.#binary.add(window, `weights at byte ${start} of the adapter`);
    }
  }

  /** How many things are looked for; nothing found proves nothing when there are none. */
  get size(): number {
    return this.#text.size + this.#binary.size;
  }

  /** Sentences on what was found. */
  find(sent: readonly Sent[]): string[] {
    return sent.flatMap(({ where, bytes }) =>
      views(bytes).flatMap((view) => {
        const form = view.name ? `, ${view.name}` : '';
        const hits = [...this.#text.find(lowerCase(view.bytes)), ...this.#binary.find(view.bytes)];
        return hits.map(({ label, offset }) => `${label}: at byte ${offset} of ${where}${form}`);
      }),
    );
  }
}

const lowerCase = (bytes: Buffer): Buffer => Buffer.from(bytes.toString('latin1').toLowerCase(), 'latin1');

const grams = (ids: readonly number[]): number[][] =>
  Array.from({ length: Math.max(0, ids.length - GRAM + 1) }, (_, start) => ids.slice(start, start + GRAM));

/** Ids in binary. Written out as numbers, in JSON or else, they are found by `views`. */
function idForms(ids: readonly number[]): Buffer[] {
  const forms = [Buffer.concat(ids.map(u32)), Buffer.concat(ids.map(varint))];
  return ids.every((id) => id < 2 ** 16) ? [...forms, Buffer.concat(ids.map(u16))] : forms;
}

function u32(id: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(id);
  return bytes;
}

function u16(id: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(id);
  return bytes;
}

/** LEB128: seven bits a byte, the lowest first. */
function varint(id: number): Buffer {
  const bytes: number[] = [];
  for (let rest = id; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}
