import type { App } from '../app';
import { el, set, show, write } from '../dom';
import { plural, score } from '../format';
import type { Decoding, EvaluationRow, EvaluationScores } from '../protocol';
import type { State } from '../state';
import { actions } from './actions';
import { failureNotice } from './failure';
import { numberField } from './fields';
import { lockFor, missingAdapter } from './lock';
import { progressBar } from './progress';
import { NOT_ASKED } from './tokens';

const METRICS = ['chrf', 'bleu', 'exact'] as const;
const TITLES: Record<(typeof METRICS)[number], string> = { chrf: 'chrF', bleu: 'BLEU', exact: 'Exact' };

function scoreRow(title: string, test: string, scores: EvaluationScores, other: EvaluationScores | undefined): HTMLElement {
  const cells = METRICS.map((metric) => el('td', { class: other && scores[metric] > other[metric] ? 'better' : '' }, score(scores[metric])));
  return el('tr', { test, 'data-chrf': scores.chrf, 'data-bleu': scores.bleu, 'data-exact': scores.exact }, el('th', { scope: 'row' }, title), ...cells);
}

function outputRow(row: EvaluationRow): HTMLElement {
  const cells = [row.input, row.target, row.plm ?? NOT_ASKED, row.mixture].map((text) => el('td', {}, text));
  return el('tr', { test: 'evaluation-row', 'data-index': row.index }, ...cells);
}

/** Why the test pairs cannot be evaluated, if so. */
function missing(state: State): string | undefined {
  if (!state.data) return 'Load pairs with a test file first.';
  if (state.data.test === 0) return 'There are no test pairs: load a test file with your data.';
  return missingAdapter(state);
}

/** Scores of both outputs over the test pairs, with the decoding chosen above. */
export function evaluation(app: App, decoding: () => Decoding | undefined): HTMLElement {
  const limit = numberField('Pairs, at most', { value: 40, min: 1, step: 1, test: 'evaluate-limit' });
  const evaluate = (): void => {
    const chosen = decoding();
    if (chosen && limit.control.reportValidity()) app.send({ type: 'evaluate', decoding: chosen, limit: limit.control.valueAsNumber });
  };
  const form = el('fieldset', { class: 'form' }, el('div', { class: 'row end' }, limit.element, actions(app, 'evaluate', [{ label: 'Evaluate on the test pairs', test: 'evaluate', run: evaluate }])));
  const lock = lockFor(app, form, 'evaluate', missing);

  const bar = progressBar(app, 'evaluation', 'Test pairs');
  const scoreBody = el('tbody');
  const scoreHead = ['Output', ...METRICS.map((metric) => TITLES[metric])].map((title) => el('th', { scope: 'col' }, title));
  const caption = el('caption');
  const scores = el('table', { class: 'numbers scores', test: 'scores' }, caption, el('thead', {}, el('tr', {}, ...scoreHead)), scoreBody);
  const rowsBody = el('tbody');
  const rowsHead = ['Input', 'Target', 'The model alone', 'With your adapter'].map((title) => el('th', { scope: 'col' }, title));
  const rows = el('div', { class: 'scroll tall', tabindex: 0, role: 'region', 'aria-label': 'Outputs for the test pairs' },
    el('table', { class: 'texts' }, el('thead', {}, el('tr', {}, ...rowsHead)), rowsBody));

  app.store.watchAll((state) => show(bar, state.busy === 'evaluate' && state.progress.evaluation !== undefined));
  app.store.watch((state) => state.evaluation, (current) => {
    const done = current?.rows ?? [];
    if (rowsBody.rows.length > done.length) rowsBody.replaceChildren();
    rowsBody.append(...done.slice(rowsBody.rows.length).map(outputRow));
    show(rows, done.length > 0);
    const result = current?.result;
    show(scores, result !== undefined);
    if (!result) return;
    set(scores, { 'data-pairs': result.pairs, 'data-stopped': String(result.stopped) });
    write(caption, `Scores over ${plural(result.pairs, 'pair')}${result.stopped ? ', stopped early' : ''}; higher is better`);
    scoreBody.replaceChildren(
      ...(result.plm ? [scoreRow('The model alone', 'scores-plm', result.plm, result.mixture)] : []),
      scoreRow('With your adapter', 'scores-mixture', result.mixture, result.plm),
    );
  });

  return el('div', { class: 'block', test: 'evaluation' },
    el('h3', {}, 'Evaluate'),
    el('p', { class: 'note' }, 'Runs every test input through both and compares with its target, in this tab. Weight, schedule and length are those chosen above. In private generation the model alone is left out.'),
    lock, form, failureNotice(app, 'evaluate'), bar, scores, rows);
}
