import type { App } from '../app';
import { button, el, show, uniqueId } from '../dom';
import { bytes } from '../format';
import type { AdapterInfo } from '../protocol';
import { failureNotice } from './failure';
import { readFile } from './files';

function adapterRow(app: App, group: string, adapter: AdapterInfo, busy: boolean, connected: boolean): HTMLElement {
  const { id, name, fits, selected, stored, rank } = adapter;
  const radio = el('input', { type: 'radio', name: group, disabled: busy || !fits, test: 'adapter-select' });
  radio.checked = selected;
  radio.addEventListener('change', () => app.send({ type: 'select-adapter', id }));
  const remove = (): void => {
    if (confirm(`Delete the adapter “${name}”? Export it first if you may need it again.`)) app.send({ type: 'delete-adapter', id });
  };
  const obstacle = fits ? '' : connected ? '; made for another model' : '; connect to use it';
  const note = `rank ${rank}, ${bytes(adapter.bytes)}${obstacle}${stored ? '' : '; not stored: export it before you close this tab'}`;
  return el(
    'li',
    { test: 'adapter', 'data-id': id, 'data-name': name, 'data-rank': rank, 'data-fits': String(fits), 'data-selected': String(selected) },
    el('label', {}, radio, el('span', {}, el('strong', {}, name), el('small', {}, note))),
    button('Export', () => app.send({ type: 'export-adapter', id }), { class: 'quiet', disabled: busy, test: 'adapter-export', 'aria-label': `Export ${name}` }),
    button('Delete', remove, { class: 'quiet danger', disabled: busy, test: 'adapter-delete', 'aria-label': `Delete ${name}` }),
  );
}

/** The adapters in this browser's storage; files come in and go out by the user's hand alone. */
export function adapterList(app: App): HTMLElement {
  const group = uniqueId('adapter');
  const list = el('ul', { class: 'adapters', test: 'adapters' });
  const none = el('p', { class: 'note' }, 'None yet. Train one, or import a file once you are connected.');
  const file = el('input', { type: 'file', accept: '.safetensors', test: 'import-adapter', id: uniqueId('import') });
  file.addEventListener('change', () => {
    const chosen = file.files?.[0];
    file.value = '';
    if (!chosen) return;
    readFile(chosen).then(
      (read) => app.send({ type: 'import-adapter', file: read }),
      (error: unknown) => app.fail('adapters', 'unreadable-file', 'The file could not be read. Choose it again.', [String(error)]),
    );
  });
  const choose = el('label', { class: 'button', for: file.id }, 'Import a file', file);
  const choices = el('div', { class: 'subhead' }, el('h3', {}, 'Adapters in this browser'), choose);

  let shown: readonly [readonly AdapterInfo[], boolean, boolean] | undefined;
  app.store.watchAll(({ adapters, busy, model }) => {
    const isBusy = busy !== undefined;
    const connected = model !== undefined;
    if (shown?.[0] === adapters && shown[1] === isBusy && shown[2] === connected) return;
    shown = [adapters, isBusy, connected];
    show(none, adapters.length === 0);
    file.disabled = isBusy || !connected;
    const focused = document.activeElement?.closest('li')?.getAttribute('data-id');
    list.replaceChildren(...adapters.map((adapter) => adapterRow(app, group, adapter, isBusy, connected)));
    if (focused) list.querySelector<HTMLElement>(`li[data-id="${CSS.escape(focused)}"] input`)?.focus();
  });
  return el('div', { class: 'block' }, choices, failureNotice(app, 'adapters'), none, list);
}
