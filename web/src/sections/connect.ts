import type { App } from '../app';
import { el, show } from '../dom';
import { bytes, count, shortHash } from '../format';
import { actions } from '../parts/actions';
import { facts } from '../parts/facts';
import { checkField, textField } from '../parts/fields';
import { progressBar } from '../parts/progress';
import { section } from '../parts/section';
import type { ModelInfo } from '../protocol';

function modelCard(model: ModelInfo): HTMLElement {
  const card = facts(
    [
      ['Hidden size', count(model.hiddenSize)],
      ['Vocabulary', count(model.vocabSize)],
      ['Context', `${count(model.contextLength)} tokens`],
      ['Head', `${bytes(model.headBytes)} in ${model.headForm}, ${model.cached ? 'already in storage' : 'downloaded'}`],
      ['Model hash', shortHash(model.modelHash), model.modelHash],
      ['Head hash', shortHash(model.headHash), model.headHash],
    ],
  );
  return el(
    'div',
    { class: 'card', test: 'model', 'data-name': model.name, 'data-head-hash': model.headHash, 'data-head-form': model.headForm, 'data-cached': String(model.cached) },
    el('h3', {}, model.name),
    card,
  );
}

export function mountConnect(root: HTMLElement, app: App): void {
  const { form, output } = section(root, app, {
    id: 'connect',
    number: 1,
    title: 'Connect',
    lead: 'Name the service of the model’s owner. This tab will talk to that one server and to no other; its head and tokenizer are downloaded once.',
    task: 'connect',
    locked: (state) => (state.opened ? undefined : state.failures.open ? 'The worker is not running.' : 'The worker is starting…'),
    done: (state) => state.model !== undefined,
  });

  const url = textField('Service', {
    type: 'url',
    value: app.suggestedService,
    test: 'service-url',
    hint: 'Another server than the one before loads this page again, so that the browser itself can enforce the restriction.',
  });
  const key = textField('API key', {
    type: 'password',
    value: '',
    test: 'service-key',
    hint: 'Kept in memory alone. Leave it empty if the service asks for none.',
  });
  const smaller = checkField('Smaller head (half the download)', {
    test: 'smaller-head',
    hint: 'Eight bits a weight, which changes losses by less than half a percent. Adapters fit either.',
  });
  smaller.control.checked = app.suggestedHead === 'int8';
  const connect = (): void =>
    app.connect(url.control.value, key.control.value.trim() || undefined, smaller.control.checked ? 'int8' : 'f16');
  for (const control of [url.control, key.control]) {
    control.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && app.store.state.busy === undefined) connect();
    });
  }

  form.append(
    el('div', { class: 'row' }, url.element, key.element),
    smaller.element,
    actions(app, 'connect', [{ label: 'Connect', test: 'connect', run: connect }]),
  );

  const bars = el('div', {}, progressBar(app, 'tokenizer', 'Tokenizer'), progressBar(app, 'head', 'Head'));
  const result = el('div');
  output.append(bars, result);
  app.store.watch((state) => state.busy === 'connect', (running) => show(bars, running));
  app.store.watch((state) => state.model, (model) => result.replaceChildren(...(model ? [modelCard(model)] : [])));
}
