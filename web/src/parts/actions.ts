import type { App } from '../app';
import { button, el, show, write } from '../dom';
import type { Task } from '../protocol';
import type { State } from '../state';

interface Start {
  readonly label: string;
  readonly test: string;
  readonly run: () => void;
  readonly primary?: boolean;
  readonly enabled?: (state: State) => boolean;
  readonly visible?: (state: State) => boolean;
}

/** Buttons that start a task, and the one that stops it, in the same place. */
export function actions(app: App, task: Task, starts: readonly Start[], stoppable = true): HTMLElement {
  const buttons = starts.map((start) => ({
    start,
    element: button(start.label, start.run, { test: start.test, class: start.primary === false ? '' : 'primary' }),
  }));
  const stop = button('Stop', () => app.send({ type: 'stop' }), { class: 'stop', test: `stop-${task}` });
  const status = el('span', { class: 'status', role: 'status' });
  app.store.watchAll((state) => {
    const mine = state.busy === task;
    const focused = buttons.some(({ element }) => element === document.activeElement);
    for (const { start, element } of buttons) {
      element.disabled = state.busy !== undefined || start.enabled?.(state) === false;
      element.title = state.busy !== undefined && !mine ? 'Waits for the running task' : '';
      show(element, !(mine && stoppable) && start.visible?.(state) !== false);
    }
    const hadFocus = stop === document.activeElement;
    show(stop, mine && stoppable);
    stop.disabled = state.stopping;
    // The keyboard stays where the mouse would be.
    if (mine && stoppable && focused) stop.focus();
    else if (!mine && hadFocus) buttons.find(({ element }) => !element.hidden && !element.disabled)?.element.focus();
    write(status, mine ? (state.stopping ? 'Stopping…' : 'Working…') : '');
  });
  return el('div', { class: 'actions' }, ...buttons.map(({ element }) => element), stop, status);
}
