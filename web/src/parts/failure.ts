import type { App } from '../app';
import { button, el } from '../dom';
import type { Task } from '../protocol';

/** Where the failures of one task appear. */
export function failureNotice(app: App, task: Task): HTMLElement {
  const region = el('div', { class: 'failure-region', 'aria-live': 'assertive' });
  app.store.watch(
    (state) => state.failures[task],
    (failure) => {
      if (!failure) {
        region.replaceChildren();
        return;
      }
      const details = failure.details.length > 0 ? el('ul', {}, ...failure.details.map((detail) => el('li', {}, detail))) : undefined;
      const dismiss = button('Dismiss', () => app.dismiss(task), { class: 'quiet', test: `dismiss-${task}` });
      const text = el('div', {}, el('p', { test: `failure-${task}-message` }, failure.message), details);
      region.replaceChildren(el('div', { class: 'failure', test: `failure-${task}`, 'data-kind': failure.kind }, text, dismiss));
    },
  );
  return region;
}
