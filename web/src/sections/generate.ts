import type { App } from '../app';
import { el, show, write } from '../dom';
import { actions } from '../parts/actions';
import { decodingForm } from '../parts/decoding';
import { evaluation } from '../parts/evaluation';
import { labelled } from '../parts/fields';
import { regeneration } from '../parts/regeneration';
import { section } from '../parts/section';
import { TokenText, tokenTable } from '../parts/tokens';
import { tuning } from '../parts/tuning';

const SILENT =
  'Your prompt goes to the model’s owner, who gives its context once. No generated token leaves this tab.';

const PRIVACY =
  'Generating sends your prompt and each generated token to the model’s owner, because the model must see its prefix. ' +
  'An adapter that memorised a target can speak it to them.';

/** The two outputs side by side. */
function outputs(app: App): HTMLElement {
  const plm = new TokenText('Output of the model alone', 'tokens-plm');
  const mixture = new TokenText('Output of the model with the adapter', 'tokens-mixture');
  const none = el('p', { class: 'note' }, 'No adapter is in use: train, import or select one.');
  const table = el('div', { class: 'scroll' });
  const details = el('details', { test: 'token-table' }, el('summary', {}, 'Probabilities as a table'), table);
  const legend = el('p', { class: 'legend' }, el('span', {}, 'model'), el('span', { class: 'ramp', 'aria-hidden': 'true' }), el('span', {}, 'adapter decides'));
  const card = (title: string, note: string, ...content: HTMLElement[]): HTMLElement =>
    el('div', { class: 'card' }, el('h3', {}, title), el('small', {}, note), ...content);
  const plmCard = card('The model alone', 'as its owner serves it', plm.element);
  const element = el('div', { class: 'versus', test: 'outputs' },
    plmCard,
    card('With your adapter', 'the colour is the adapter’s weight at each token', mixture.element, none, legend),
  );
  const wrapper = el('div', {}, element, details);

  const fill = (): void => {
    const tokens = app.store.state.generation?.tokens.mixture ?? [];
    if (details.open) table.replaceChildren(tokenTable(tokens));
  };
  details.addEventListener('toggle', fill);
  app.store.watch((state) => state.generation, (generation) => {
    show(wrapper, generation !== undefined);
    if (!generation) return;
    show(plmCard, generation.compares);
    plm.show(generation.tokens.plm);
    mixture.show(generation.tokens.mixture);
    show(details, generation.tokens.mixture.length > 0);
    show(legend, generation.tokens.mixture.length > 0);
    fill();
    const { result } = generation;
    show(none, result !== undefined && result.mixture === undefined && !result.stopped);
    for (const [name, value] of [['plm', result?.plm], ['mixture', result?.mixture], ['stopped', result && String(result.stopped)]] as const) {
      if (value === undefined) delete element.dataset[name];
      else element.dataset[name] = value;
    }
  });
  return wrapper;
}

export function mountGenerate(root: HTMLElement, app: App): void {
  const { form, output } = section(root, app, {
    id: 'generate',
    number: 5,
    title: 'Generate',
    lead: 'The model’s owner computes, your adapter joins in: each token is drawn from a mixture of both, made in this tab.',
    task: 'generate',
    locked: (state) => (!state.model ? 'Connect to a service first.' : state.data ? undefined : 'Load pairs first: the prompt template comes with them.'),
    done: (state) => state.generation?.result !== undefined,
  });
  const warning = el('p', { test: 'generate-privacy' });
  const warn = (): void => {
    const silent = decoding.isSilent();
    warning.className = silent ? 'note' : 'warning';
    warning.replaceChildren(el('strong', {}, silent ? 'Private. ' : 'This step is different. '), silent ? SILENT : PRIVACY);
  };
  const decoding = decodingForm(() => warn());
  const input = labelled('Input', el('textarea', { rows: 3, test: 'generate-input', placeholder: 'gotta run, ttyl' }), 'It goes into the template of your data.');
  const generate = (): void => {
    const chosen = decoding.read();
    if (chosen) app.send({ type: 'generate', input: input.control.value, decoding: chosen });
  };
  const note = el('span', { class: 'note' });
  form.append(
    warning,
    input.element,
    decoding.element,
    actions(app, 'generate', [{ label: 'Generate', test: 'generate', run: generate }]),
    note,
  );
  app.store.watch((state) => state.adapters, (adapters) => {
    const used = adapters.find((adapter) => adapter.selected && adapter.fits);
    decoding.offerPrivate(used !== undefined && used.contexts !== 'steps');
    decoding.offerLearned(used?.gate === true);
    decoding.offerContrast(used?.contrast === true);
    write(note, used ? `Adapter in use: ${used.name}` : 'No adapter is in use; the model writes alone.');
  });
  app.store.watch((state) => state.data, (data) => data && decoding.setOneLine(data.oneLine));
  output.append(outputs(app), tuning(app, decoding.read, decoding.mix), evaluation(app, decoding.read), regeneration(app, decoding.read));
}
