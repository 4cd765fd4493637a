import { el } from '../dom';

/** Names and values, as a description list. */
export function facts(rows: readonly (readonly [name: string, value: string, title?: string])[], test?: string): HTMLElement {
  return el('dl', { class: 'facts', ...(test === undefined ? {} : { test }) },
    ...rows.map(([name, value, title]) => el('div', {}, el('dt', {}, name), el('dd', { title }, value))));
}
