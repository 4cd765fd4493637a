// Another implementation of the tokenizer, on the file that the service serves: the tab's own is
// what is tested.

import { Tokenizer } from '@huggingface/tokenizers';

import { BUCKET, type ExpectedPrompt } from '../privacy/allowlist';
import type { Pair } from './data';
import { TEMPLATE } from './data';

/** What these tests read of a model card. */
interface Card {
  readonly model: string;
  readonly bos?: number | null;
  readonly eos: number;
}

/** A pair in tokens. */
export interface TokenizedPair {
  readonly prompt: ExpectedPrompt;
  /** With its end. */
  readonly target: readonly number[];
}

export class ModelTexts {
  readonly card: Card;
  readonly #tokenizer: Tokenizer;

  private constructor(card: Card, tokenizer: Tokenizer) {
    this.card = card;
    this.#tokenizer = tokenizer;
  }

  /** Asks a service for its card and tokenizer. */
  static async of(service: string, key?: string): Promise<ModelTexts> {
    const headers: HeadersInit = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const get = async (path: string): Promise<unknown> => (await fetch(`${service}${path}`, { headers })).json();
    const file = await get('/v1/tokenizer.json');
    return new ModelTexts((await get('/v1/model')) as Card, new Tokenizer(file as object, {}));
  }

  encode(text: string): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  /** As the tab should read a pair. */
  pair({ input, target }: Pair, template = TEMPLATE): TokenizedPair {
    const text = template.replace('{input}', () => input);
    const [before, whole] = [this.encode(text), this.encode(`${text} ${target}`)];
    const ids = [...whole.slice(before.length), this.card.eos];
    const { bos } = this.card;
    const start = typeof bos === 'number' && before[0] !== bos ? [bos] : [];
    return { prompt: { tokens: [...start, ...before], steps: [Math.ceil(ids.length / BUCKET) * BUCKET] }, target: ids };
  }
}
