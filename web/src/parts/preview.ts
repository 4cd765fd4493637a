import { el } from '../dom';
import { plural } from '../format';
import type { DataSummary } from '../protocol';
import { facts } from './facts';

/** What was read, and which part of it goes where. */
export function dataPreview(data: DataSummary): HTMLElement {
  const head = el(
    'tr',
    {},
    el('th', { scope: 'col', class: 'leaves' }, 'Prompt', el('span', { class: 'tag' }, 'goes to the service')),
    el('th', { scope: 'col', class: 'stays' }, 'Target', el('span', { class: 'tag' }, 'stays in this tab')),
  );
  const rows = data.preview.map((pair) =>
    el(
      'tr',
      { test: 'preview-row' },
      el('td', { class: 'leaves' }, el('span', { class: 'text' }, pair.prompt), el('small', {}, plural(pair.promptTokens, 'token'))),
      el('td', { class: 'stays' }, el('span', { class: 'text' }, pair.target), el('small', {}, plural(pair.targetTokens, 'token'))),
    ),
  );
  const table = el('table', { class: 'pairs' }, el('caption', {}, `The first ${plural(data.preview.length, 'pair')}`), el('thead', {}, head), el('tbody', {}, ...rows));
  return el(
    'div',
    {
      test: 'data-summary',
      'data-train': data.train,
      'data-validation': data.validation,
      'data-test': data.test,
    },
    facts([
      ['Training', plural(data.train, 'pair')],
      ['Validation', plural(data.validation, 'pair')],
      ['Test', plural(data.test, 'pair')],
      ['Prompts', plural(data.promptTokens, 'token')],
      ['Targets', plural(data.targetTokens, 'token')],
    ]),
    el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Preview of the pairs' }, table),
  );
}
