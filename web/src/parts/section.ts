import type { App } from '../app';
import { el, set, show, write } from '../dom';
import type { Task } from '../protocol';
import type { State } from '../state';
import { failureNotice } from './failure';

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
  const lock = el('p', { class: 'lock', test: `locked-${options.id}` });
  const form = el('fieldset', { class: 'form', 'aria-labelledby': titleId });
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
    const reason = options.locked(state);
    form.disabled = reason !== undefined;
    show(lock, reason !== undefined);
    write(lock, reason ?? '');
    const status = reason !== undefined ? 'locked' : options.done(state) ? 'done' : 'open';
    set(element, { 'data-state': status });
  });
  root.append(element);
  return { form, output };
}
