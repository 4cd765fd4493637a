import type { App } from '../app';
import { el, show } from '../dom';
import { bytes, count, plural } from '../format';
import { actions } from '../parts/actions';
import { facts } from '../parts/facts';
import { progressBar } from '../parts/progress';
import { section } from '../parts/section';

export function mountMemory(root: HTMLElement, app: App): void {
  const { form, output } = section(root, app, {
    id: 'memory',
    number: 3,
    title: 'Memory',
    lead: 'The service runs its model on the prompts and sends back what the model thought at each step. The targets are joined to that here.',
    task: 'memory',
    locked: (state) => (!state.model ? 'Connect to a service first.' : state.data ? undefined : 'Load pairs first.'),
    done: (state) => state.memory !== undefined,
  });

  form.append(
    actions(app, 'memory', [{ label: 'Download memory', test: 'download-memory', run: () => app.send({ type: 'download-memory' }) }]),
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
        ['To train on', plural(memory.trainRows, 'row')],
        ['For validation', plural(memory.validationRows, 'row')],
        ['Size', `${bytes(memory.bytes)} in ${plural(memory.shards, 'shard')}`],
        ['Source', memory.cached ? 'already in storage' : 'downloaded'],
      ],
      'memory',
    );
    summary.dataset['trainRows'] = String(memory.trainRows);
    summary.dataset['validationRows'] = String(memory.validationRows);
    summary.dataset['cached'] = String(memory.cached);
    summary.title = `${count(memory.trainRows + memory.validationRows)} pairs of a context and its target token`;
    result.append(summary);
  });
}
