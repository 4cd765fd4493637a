import type { App } from '../app';
import { el, set } from '../dom';
import type { State } from '../state';

const STEPS: readonly { id: string; title: string; done: (state: State) => boolean }[] = [
  { id: 'connect', title: 'Connect', done: (state) => state.model !== undefined },
  { id: 'data', title: 'Data', done: (state) => state.data !== undefined },
  { id: 'memory', title: 'Memory', done: (state) => state.memory !== undefined },
  { id: 'train', title: 'Train', done: (state) => state.adapters.some((adapter) => adapter.selected && adapter.fits) },
  { id: 'generate', title: 'Generate', done: (state) => state.generation?.result !== undefined },
];

/** The five steps as links, with the one to do next marked. */
export function stepper(app: App): HTMLElement {
  const links = STEPS.map(({ id, title }, index) =>
    el('a', { href: `#${id}` }, el('span', { class: 'number', 'aria-hidden': 'true' }, String(index + 1)), el('span', { class: 'title' }, title)));
  app.store.watchAll((state) => {
    const next = STEPS.findIndex((step) => !step.done(state));
    links.forEach((link, index) => {
      const state_ = STEPS[index]?.done(state) ? 'done' : index === next ? 'next' : 'later';
      set(link, { 'data-state': state_, 'aria-current': index === next ? 'step' : undefined });
    });
  });
  return el('nav', { class: 'stepper', 'aria-label': 'Steps' }, ...links);
}
