import type { App } from '../app';
import { el, show, write } from '../dom';
import { bytes, count, plural } from '../format';
import { actions } from '../parts/actions';
import { facts } from '../parts/facts';
import { choiceField } from '../parts/fields';
import { progressBar } from '../parts/progress';
import { section } from '../parts/section';
import type { Contexts, DataSummary } from '../protocol';

const CONTEXTS: readonly { value: Contexts; title: string; note: string }[] = [
  { value: 'steps', title: 'After every word', note: 'The model runs on from each prompt, one context a step, as in the paper.' },
  {
    value: 'prompt',
    title: 'Of the prompt alone',
    note: 'One context a prompt: much faster, tells nothing of your targets but their number, and lets you write without telling what.',
  },
  {
    value: 'prompt-all',
    title: 'Of all the prompt’s tokens',
    note: 'One context for each token of a prompt, which your adapter can attend over. It is as fast as the last one of them alone and tells no more, but the download is larger.',
  },
];

const isContexts = (value: string): value is Contexts => CONTEXTS.some((choice) => choice.value === value);

const estimateOf = { steps: 'memoryOfSteps', prompt: 'memoryOfPrompts', 'prompt-all': 'memoryOfPromptTokens' } as const;

const titleOf = (contexts: Contexts): string => CONTEXTS.find(({ value }) => value === contexts)?.title ?? '';

const estimate = (data: DataSummary, contexts: Contexts): string => {
  const { rows, bytes: size } = data[estimateOf[contexts]];
  return `To be asked for: ${plural(rows, 'row')}, about ${bytes(size)}.`;
};

export function mountMemory(root: HTMLElement, app: App): void {
  const { form, output } = section(root, app, {
    id: 'memory',
    number: 3,
    title: 'Memory',
    lead: 'The service runs its model on the prompts and sends back its contexts, what the model thought. The targets are joined to them here.',
    task: 'memory',
    locked: (state) => (!state.model ? 'Connect to a service first.' : state.data ? undefined : 'Load pairs first.'),
    done: (state) => state.memory !== undefined,
  });

  const note = el('p', { class: 'note', test: 'contexts-note' });
  const chosen = (): Contexts => {
    const value = contexts.value();
    return isContexts(value) ? value : 'steps';
  };
  const explain = (): void => {
    const { data } = app.store.state;
    const choice = CONTEXTS.find(({ value }) => value === chosen());
    write(note, [choice?.note ?? '', ...(data ? [estimate(data, chosen())] : [])].join(' '));
  };
  const contexts = choiceField('Contexts', 'contexts', CONTEXTS, explain);
  contexts.select('steps');
  app.store.watch((state) => state.data, explain);

  form.append(
    contexts.element,
    note,
    actions(app, 'memory', [
      { label: 'Download memory', test: 'download-memory', run: () => app.send({ type: 'download-memory', contexts: chosen() }) },
    ]),
    el('p', { class: 'note' }, 'You can stop at any time and go on later: finished parts are kept in this browser’s storage.'),
  );

  const bars = el(
    'div',
    {},
    progressBar(app, 'extraction', 'Extraction at the service'),
    progressBar(app, 'shards', 'Download'),
    progressBar(app, 'join', 'Joining the targets'),
  );
  const result = el('div');
  output.append(bars, result);
  app.store.watch((state) => state.busy === 'memory' || state.memory === undefined, (visible) => show(bars, visible));
  app.store.watch((state) => state.memory, (memory) => {
    result.replaceChildren();
    if (!memory) return;
    const summary = facts(
      [
        ['Contexts', `${titleOf(memory.contexts).toLowerCase()}: ${plural(memory.rows, 'row')}`],
        ['To train on', plural(memory.trainRows, 'target token')],
        ['For validation', plural(memory.validationRows, 'target token')],
        ['Size', `${bytes(memory.bytes)} in ${plural(memory.shards, 'shard')}`],
        ['Source', memory.round > 1 ? `round ${memory.round}: along your mixture’s words` : memory.cached ? 'already in storage' : 'downloaded'],
      ],
      'memory',
    );
    summary.dataset['contexts'] = memory.contexts;
    summary.dataset['rows'] = String(memory.rows);
    summary.dataset['trainRows'] = String(memory.trainRows);
    summary.dataset['validationRows'] = String(memory.validationRows);
    summary.dataset['round'] = String(memory.round);
    summary.dataset['cached'] = String(memory.cached);
    summary.title = `${count(memory.trainRows + memory.validationRows)} pairs of a context and its target token`;
    result.append(summary);
  });
}
