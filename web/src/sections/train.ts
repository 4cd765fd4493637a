import type { App } from '../app';
import { el, show } from '../dom';
import { actions } from '../parts/actions';
import { adapterList } from '../parts/adapters';
import { section } from '../parts/section';
import { settingsForm } from '../parts/settings';
import { runView } from '../parts/run';

export function mountTrain(root: HTMLElement, app: App): void {
  const { form, output } = section(root, app, {
    id: 'train',
    number: 4,
    title: 'Train',
    lead: 'Two phases, on this machine: the adapter first learns how the model thinks or writes, then to predict your targets.',
    task: 'train',
    locked: (state) => {
      if (state.memory) return undefined;
      const first = 'Download the memory first.';
      return state.resumable ? `${first} The run “${state.resumable.name}” was stopped and can go on then.` : first;
    },
    done: (state) => state.adapters.some((adapter) => adapter.selected && adapter.fits),
  });

  const settings = settingsForm();
  const train = (): void => {
    const chosen = settings.read();
    if (chosen) app.send({ type: 'train', settings: chosen, resume: false });
  };
  const resume = (): void => {
    const { resumable } = app.store.state;
    if (resumable) app.send({ type: 'train', settings: resumable, resume: true });
  };
  const hint = el('p', { class: 'note' }, 'This memory’s contexts are the same at every token: what was written so far is known by local context and copying alone, so keep them.');
  app.store.watch((state) => state.memory, (memory) => {
    const contexts = memory?.contexts;
    show(hint, contexts === 'prompt' || contexts === 'prompt-all');
    settings.offerFor(memory);
  });
  form.append(
    settings.element,
    hint,
    actions(app, 'train', [
      { label: 'Train', test: 'train', run: train },
      { label: 'Go on with the stopped run', test: 'resume', run: resume, primary: false, visible: (state) => state.resumable !== undefined },
    ]),
  );

  const result = el('div', { role: 'status' });
  app.store.watch((state) => state.trained, (trained) => {
    if (!trained) {
      result.replaceChildren();
      return;
    }
    const { adapter, stopped } = trained;
    const text = stopped
      ? `Stopped. What “${adapter.name}” has learned so far is stored and in use; the run can go on.`
      : `Done: “${adapter.name}” is stored in this browser and in use.`;
    const attributes = { 'data-id': adapter.id, 'data-name': adapter.name, 'data-stopped': String(stopped) };
    result.replaceChildren(el('p', { class: 'success', test: 'trained', ...attributes }, text));
  });
  output.append(runView(app), result, adapterList(app));
}
