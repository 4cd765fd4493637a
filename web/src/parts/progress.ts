import type { App } from '../app';
import { el, show, write } from '../dom';
import { bytes, count } from '../format';
import type { Stage } from '../protocol';

/** A bar for one stage of a long task; hidden until the stage begins. */
export function progressBar(app: App, stage: Stage, title: string): HTMLElement {
  const bar = el('progress', { max: 1, value: 0, 'aria-label': title });
  const amount = el('span', { class: 'amount' });
  const element = el('div', { class: 'progress', test: `progress-${stage}` }, el('span', {}, title), bar, amount);
  app.store.watch(
    (state) => state.progress[stage],
    (progress) => {
      show(element, progress !== undefined);
      if (!progress) return;
      const { done, total, unit } = progress;
      if (total > 0) bar.value = Math.min(1, done / total);
      else bar.removeAttribute('value');
      const text = unit === 'bytes' ? `${bytes(done)} of ${bytes(total)}` : `${count(done)} of ${count(total)} ${unit}`;
      write(amount, text);
      element.dataset['done'] = String(done);
      element.dataset['total'] = String(total);
    },
  );
  return element;
}
