import { el, set, uniqueId } from '../dom';

interface Labelled<T extends HTMLElement> {
  readonly element: HTMLElement;
  readonly control: T;
}

/** A control with its label above and a hint below. */
export function labelled<T extends HTMLElement>(label: string, control: T, hint?: string): Labelled<T> {
  const id = uniqueId('field');
  const hintId = hint === undefined ? undefined : `${id}-hint`;
  set(control, { id, 'aria-describedby': hintId });
  const element = el('div', { class: 'field' }, el('label', { for: id }, label), control);
  if (hint !== undefined) element.append(el('small', { id: hintId }, hint));
  return { element, control };
}

interface NumberOptions {
  readonly value: number;
  readonly min?: number;
  readonly max?: number;
  readonly step?: number | 'any';
  readonly test: string;
  readonly hint?: string;
}

export function numberField(label: string, { hint, ...options }: NumberOptions): Labelled<HTMLInputElement> {
  return labelled(label, el('input', { type: 'number', inputmode: 'decimal', required: true, ...options }), hint);
}

export function textField(label: string, options: { value: string; test: string; hint?: string; type?: string }): Labelled<HTMLInputElement> {
  const { hint, ...attributes } = options;
  return labelled(label, el('input', { type: 'text', spellcheck: 'false', autocomplete: 'off', ...attributes }), hint);
}

export function selectField(label: string, test: string, choices: readonly { value: string; title: string }[], hint?: string): Labelled<HTMLSelectElement> {
  return labelled(label, el('select', { test }, ...choices.map(({ value, title }) => el('option', { value }, title))), hint);
}

export function checkField(label: string, options: { test: string; hint: string }): Labelled<HTMLInputElement> {
  return labelled(label, el('input', { type: 'checkbox', test: options.test }), options.hint);
}

/** Radio buttons drawn as one row. */
export function choiceField(
  legend: string,
  test: string,
  choices: readonly { value: string; title: string }[],
  onChange: (value: string) => void,
): { element: HTMLElement; select: (value: string | undefined) => void; value: () => string; allow: (value: string, allowed: boolean) => void } {
  const name = uniqueId(test);
  const legendId = uniqueId('legend');
  const inputs = choices.map(({ value }) => {
    const input = el('input', { type: 'radio', name, value, test: `${test}-${value}` });
    input.addEventListener('change', () => onChange(value));
    return input;
  });
  const options = inputs.map((input, index) => el('label', {}, input, el('span', {}, choices[index]?.title ?? '')));
  const row = el('div', { class: 'choice', role: 'radiogroup', 'aria-labelledby': legendId }, ...options);
  return {
    element: el('div', { class: 'field' }, el('span', { class: 'label', id: legendId }, legend), row),
    select: (value) => inputs.forEach((input) => (input.checked = input.value === value)),
    value: () => inputs.find((input) => input.checked)?.value ?? '',
    allow: (value, allowed) => inputs.filter((input) => input.value === value).forEach((input) => (input.disabled = !allowed)),
  };
}
