import type { App } from '../app';
import { el, set } from '../dom';
import type { Task } from '../protocol';
import type { State } from '../state';
import { failureNotice } from './failure';
import { lockFor } from './lock';

interface Options {
  readonly id: string;
  readonly number: number;
  readonly title: string;
  readonly lead: string;
  readonly task: Task;
  /** Why the section cannot be used yet, if so. */
  readonly locked: (state: State) => string | undefined;
  readonly done: (state: State) => boolean;
}

/** The frame of one of the five steps. Controls go into `form`, which is disabled while locked; results into `output`. */
export interface Section {
  readonly form: HTMLFieldSetElement;
  readonly output: HTMLElement;
}

export function section(root: HTMLElement, app: App, options: Options): Section {
  const titleId = `${options.id}-title`;
  const form = el('fieldset', { class: 'form', 'aria-labelledby': titleId });
  const lock = lockFor(app, form, options.id, options.locked);
  const output = el('div', { class: 'output' });
  const element = el(
    'section',
    { id: options.id, class: 'step', 'aria-labelledby': titleId, test: `section-${options.id}` },
    el('header', {}, el('span', { class: 'number', 'aria-hidden': 'true' }, String(options.number)), el('h2', { id: titleId }, options.title)),
    el('p', { class: 'lead' }, options.lead),
    lock,
    form,
    failureNotice(app, options.task),
    output,
  );
  app.store.watchAll((state) => {
    set(element, { 'data-state': options.locked(state) !== undefined ? 'locked' : options.done(state) ? 'done' : 'open' });
  });
  root.append(element);
  return { form, output };
}
