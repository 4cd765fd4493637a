import type { App } from '../app';
import { el, show, write } from '../dom';
import type { Decoding } from '../protocol';
import type { State } from '../state';
import { actions } from './actions';
import { failureNotice } from './failure';
import { numberField } from './fields';
import { lockFor, missingAdapter } from './lock';
import { progressBar } from './progress';

const LEAD =
  'The mixture writes after each of your training prompts, and the model’s contexts along its words become a second memory, ' +
  'nearer to those of generation. Train on it as on the first. Where it was measured so far, it gained nothing. Weight, schedule and repeats are those chosen above.';

const WARNING =
  'The text is sent to the model’s owner, token by token, for every pair that your adapter has learned from. ' +
  'Such text can resemble your targets. The estimate is made in this tab and sends nothing.';

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** Why there can be no second round yet, if so. */
function missing(state: State): string | undefined {
  if (!state.memory) return 'Download the memory first.';
  return missingAdapter(state);
}

/** A second memory along the mixture’s own words: estimated, limited, and sent by hand alone. */
export function regeneration(app: App, decoding: () => Decoding | undefined): HTMLElement {
  const limit = numberField('Limit, percent', {
    value: 0, min: 0, max: 100, step: 'any', test: 'overlap-limit',
    hint: 'Of your targets’ sequences of four tokens, the most that may be told',
  });
  const rehearse = (): void => {
    const chosen = decoding();
    if (chosen) app.send({ type: 'rehearse', mixture: chosen.mixture, noRepeat: chosen.noRepeat });
  };
  const send = (): void => {
    const { rehearsal } = app.store.state;
    if (!rehearsal || !limit.control.reportValidity()) return;
    const question = `Send what the mixture writes to the model’s owner? By the estimate it holds ${percent(rehearsal.sequences)} of your targets’ sequences of four tokens.`;
    if (confirm(question)) app.send({ type: 'regenerate', maxOverlap: limit.control.valueAsNumber / 100 });
  };
  const form = el('fieldset', { class: 'form' },
    limit.element,
    actions(app, 'regenerate', [
      { label: 'Estimate', test: 'rehearse', run: rehearse },
      { label: 'Send and make the second memory', test: 'regenerate', run: send, primary: false, visible: (state) => state.rehearsal !== undefined },
    ]),
  );
  const lock = lockFor(app, form, 'regenerate', missing);

  const bars = el('div', {}, progressBar(app, 'rehearsal', 'Estimate'), progressBar(app, 'regeneration', 'Texts sent'));
  app.store.watch((state) => state.busy === 'regenerate', (visible) => show(bars, visible));
  const result = el('p', { role: 'status', test: 'rehearsal' });
  app.store.watch((state) => state.rehearsal, (rehearsal) => {
    show(result, rehearsal !== undefined);
    if (!rehearsal) return;
    const { sequences, tokens } = rehearsal;
    result.dataset['sequences'] = String(sequences);
    write(result, `Estimate: ${percent(sequences)} of your targets’ sequences of four tokens would be told, and ${percent(tokens)} of their tokens. Nothing was sent.`);
  });

  return el('details', { class: 'block', test: 'regeneration' },
    el('summary', {}, 'A second round'),
    el('p', { class: 'note' }, LEAD),
    el('p', { class: 'warning' }, el('strong', {}, 'This tells what your adapter writes. '), WARNING),
    lock, form, failureNotice(app, 'regenerate'), bars, result);
}
