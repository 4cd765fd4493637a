import { el, set, uniqueId, write } from '../dom';
import type { DataFile } from '../protocol';
import { readFile } from './files';

export interface FilePicker {
  readonly element: HTMLElement;
  /** The chosen file. */
  readonly file: () => DataFile | undefined;
  /** Puts a file there without the user's hand. */
  readonly put: (file: DataFile | undefined) => void;
}

interface Options {
  readonly label: string;
  readonly note: string;
  readonly test: string;
  readonly onChange: (file: DataFile) => void;
  readonly onError: (error: unknown) => void;
}

/** A file input that takes drops too. */
export function filePicker({ label, note, test, onChange, onError }: Options): FilePicker {
  let file: DataFile | undefined;
  const id = uniqueId('file');
  const input = el('input', { type: 'file', id, test, accept: '.jsonl,.ndjson,.csv,.tsv,.txt,text/csv,text/tab-separated-values' });
  const name = el('span', { class: 'file-name' }, note);
  const element = el('label', { class: 'file', for: id }, el('strong', {}, label), name, input);

  const put = (next: DataFile | undefined): void => {
    file = next;
    write(name, next ? next.name : note);
    set(element, { 'data-chosen': next !== undefined });
  };
  const take = (chosen: File): void => {
    readFile(chosen).then((read) => {
      put(read);
      onChange(read);
    }, onError);
  };

  input.addEventListener('change', () => {
    const chosen = input.files?.[0];
    if (chosen) take(chosen);
    // The same file, changed on disk, can be chosen again.
    input.value = '';
  });
  const highlight = (over: boolean) => (event: DragEvent): void => {
    event.preventDefault();
    set(element, { 'data-over': over });
  };
  element.addEventListener('dragover', highlight(true));
  element.addEventListener('dragleave', highlight(false));
  element.addEventListener('drop', (event) => {
    highlight(false)(event);
    const dropped = event.dataTransfer?.files[0];
    if (dropped && !input.matches(':disabled')) take(dropped);
  });
  return { element, file: () => file, put };
}
