import type { App } from '../app';
import { el, show, write } from '../dom';
import { count, plural, score } from '../format';
import type { Decoding, Mixture, TriedMixture } from '../protocol';
import { isSameMixture, type State } from '../state';
import { actions } from './actions';
import { MIXINGS } from './decoding';
import { failureNotice } from './failure';
import { numberField } from './fields';
import { lockFor, missingAdapter } from './lock';
import { progressBar } from './progress';

const LEAD =
  'How much the adapter should say, and how, depends on your task. This writes the texts of some validation pairs with each of several ' +
  'mixtures and takes the one whose texts are nearest to the targets. As with all generation, the model’s owner learns these texts.';

const titleOf = ({ mixing }: Mixture): string => MIXINGS.find(({ value }) => value === mixing)?.title ?? mixing;

function row({ mixture, pairs, chrf }: TriedMixture, best: Mixture | undefined): HTMLElement {
  const isBest = best !== undefined && isSameMixture(mixture, best);
  return el('tr', { test: 'tried', 'data-mixing': mixture.mixing, 'data-lambda': mixture.lambdaMax.toFixed(2), 'data-pairs': pairs, 'data-chrf': chrf, 'data-best': String(isBest) },
    el('th', { scope: 'row' }, titleOf(mixture)),
    el('td', {}, mixture.lambdaMax.toFixed(2)),
    el('td', {}, count(pairs)),
    el('td', { class: isBest ? 'better' : '' }, score(chrf)));
}

/** Why there is nothing to choose, if so. */
function missing(state: State): string | undefined {
  if (!state.data) return 'Load pairs first.';
  return missingAdapter(state);
}

/** Mixtures tried on validation pairs; `onBest` is given the one to use. */
export function tuning(app: App, decoding: () => Decoding | undefined, onBest: (mixture: Mixture) => void): HTMLElement {
  const limit = numberField('Validation pairs, at most', { value: 32, min: 1, step: 1, test: 'tune-limit', hint: 'All mixtures write for a quarter of them, the best three for the others too' });
  const tune = (): void => {
    const chosen = decoding();
    if (chosen && limit.control.reportValidity()) app.send({ type: 'tune', decoding: chosen, limit: limit.control.valueAsNumber });
  };
  const form = el('fieldset', { class: 'form' }, el('div', { class: 'row end' }, limit.element, actions(app, 'tune', [{ label: 'Choose the mixture', test: 'tune', run: tune }])));
  const lock = lockFor(app, form, 'tune', missing);

  const bar = progressBar(app, 'tuning', 'Texts of validation pairs');
  app.store.watch((state) => state.busy === 'tune', (visible) => show(bar, visible));
  const body = el('tbody');
  const caption = el('caption');
  const head = ['Mixture', 'Weight', 'Pairs', 'chrF'].map((title) => el('th', { scope: 'col' }, title));
  const table = el('table', { class: 'numbers scores', test: 'tuning' }, caption, el('thead', {}, el('tr', {}, ...head)), body);
  app.store.watch((state) => state.tuning, (current) => {
    const { tried, result } = current ?? { tried: [], result: undefined };
    const best = result?.mixture;
    show(table, tried.length > 0);
    body.replaceChildren(...tried.map((one) => row(one, best)));
    write(caption, best ? `${plural(tried.length, 'mixture')} tried: ${titleOf(best)} with weight ${best.lambdaMax.toFixed(2)} is chosen above${result?.stopped ? ', stopped early' : ''}` : 'Higher is better');
    if (best) onBest(best);
  });

  return el('div', { class: 'block', test: 'tuning-block' }, el('h3', {}, 'Choose the mixture'), el('p', { class: 'note' }, LEAD), lock, form, failureNotice(app, 'tune'), bar, table);
}
