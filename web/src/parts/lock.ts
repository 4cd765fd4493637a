import type { App } from '../app';
import { el, show, write } from '../dom';
import type { State } from '../state';

/** Says why a form cannot be used yet, and disables it until it can. */
export function lockFor(app: App, form: HTMLFieldSetElement, test: string, reasonOf: (state: State) => string | undefined): HTMLElement {
  const lock = el('p', { class: 'lock', test: `locked-${test}` });
  app.store.watchAll((state) => {
    const reason = reasonOf(state);
    form.disabled = reason !== undefined;
    show(lock, reason !== undefined);
    write(lock, reason ?? '');
  });
  return lock;
}

/** What is missing where there is no adapter that fits the model. */
export const missingAdapter = (state: State): string | undefined =>
  state.adapters.some((adapter) => adapter.selected && adapter.fits) ? undefined : 'Train, import or select an adapter first.';
