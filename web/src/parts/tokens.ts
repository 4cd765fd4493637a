// A generated text whose tokens show the adapter's weight and tell the probabilities.

import { el, show, uniqueId } from '../dom';
import { probability } from '../format';
import type { StepToken } from '../protocol';

/** Stands where the model was not asked, so that its owner learns nothing. */
export const NOT_ASKED = 'not asked';

const describe = (token: StepToken): readonly (readonly [string, string])[] => [
  ['Adapter’s weight (lambda)', token.lambda.toFixed(3)],
  ['Adapter’s probability', probability(token.pPema)],
  ['Model’s probability', token.pPlm === undefined ? NOT_ASKED : probability(token.pPlm)],
  ['Mixture’s probability', probability(token.pMixture)],
];

/** What is drawn for a token that completed no character, or ended the text. */
const NO_TEXT = '∎';

export class TokenText {
  readonly element: HTMLElement;
  readonly #text: HTMLElement;
  readonly #tip: HTMLElement;
  readonly #tipId = uniqueId('tip');
  #tokens: readonly StepToken[] = [];
  #current = 0;

  constructor(label: string, test: string) {
    this.#text = el('div', { class: 'tokens', role: 'group', 'aria-label': label, test });
    this.#tip = el('div', { class: 'tip', role: 'tooltip', id: this.#tipId, hidden: true });
    this.element = el('div', { class: 'tokens-frame' }, this.#text, this.#tip);
    const point = (event: Event): void => {
      if (event.target instanceof HTMLElement && event.target.dataset['index'] !== undefined) this.#describe(event.target);
    };
    this.#text.addEventListener('pointerover', point);
    this.#text.addEventListener('focusin', point);
    this.#text.addEventListener('pointerleave', () => show(this.#tip, false));
    this.#text.addEventListener('focusout', () => show(this.#tip, false));
    this.#text.addEventListener('keydown', (event) => this.#move(event));
  }

  /** Shows tokens; those that are there already stay. */
  show(tokens: readonly StepToken[]): void {
    const grows = this.#tokens.length > 0 && tokens.length >= this.#tokens.length && tokens[0] === this.#tokens[0];
    if (!grows) {
      this.#text.replaceChildren();
      this.#current = 0;
      show(this.#tip, false);
    }
    for (const token of tokens.slice(this.#text.children.length)) {
      const index = this.#text.children.length;
      const span = el('span', { class: 'token', tabindex: index === 0 ? 0 : -1, 'data-index': index, 'data-lambda': token.lambda }, (index === 0 ? token.text.trimStart() : token.text) || NO_TEXT);
      if (!token.text) span.classList.add('empty');
      span.style.setProperty('--weight', String(token.lambda));
      this.#text.append(span);
    }
    this.#tokens = tokens;
  }

  /** Arrow keys walk over the tokens, so that the text is one stop of the Tab key. */
  #move(event: KeyboardEvent): void {
    const last = this.#text.children.length - 1;
    const targets: Record<string, number> = { ArrowRight: this.#current + 1, ArrowLeft: this.#current - 1, Home: 0, End: last };
    if (event.key === 'Escape') show(this.#tip, false);
    const next = targets[event.key];
    if (next === undefined || next < 0 || next > last) return;
    event.preventDefault();
    const from = this.#text.children[this.#current];
    const to = this.#text.children[next];
    from?.setAttribute('tabindex', '-1');
    to?.setAttribute('tabindex', '0');
    this.#current = next;
    if (to instanceof HTMLElement) to.focus();
  }

  #describe(span: HTMLElement): void {
    const token = this.#tokens[Number(span.dataset['index'])];
    if (!token) return;
    for (const other of this.#text.querySelectorAll('[aria-describedby]')) other.removeAttribute('aria-describedby');
    span.setAttribute('aria-describedby', this.#tipId);
    const rows = describe(token).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)));
    this.#tip.replaceChildren(el('dl', {}, ...rows));
    show(this.#tip, true);
    const left = Math.min(span.offsetLeft, Math.max(0, this.element.clientWidth - this.#tip.offsetWidth));
    this.#tip.style.left = `${left}px`;
    this.#tip.style.top = `${span.offsetTop + span.offsetHeight + 4}px`;
  }
}

/** The same as a table. */
export function tokenTable(tokens: readonly StepToken[]): HTMLElement {
  const head = ['Token', 'Lambda', 'Adapter', 'Model', 'Mixture'].map((name) => el('th', { scope: 'col' }, name));
  const rows = tokens.map((token) =>
    el('tr', { test: 'token-row' },
      el('td', {}, el('code', {}, token.text || NO_TEXT)),
      ...describe(token).map(([, value]) => el('td', {}, value)),
    ),
  );
  return el('table', { class: 'numbers' }, el('caption', {}, 'Probabilities of each token of the mixture'), el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...rows));
}
