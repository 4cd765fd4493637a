// Elements, made without a framework and without markup in strings.

type Value = string | number | boolean | undefined;
type Attributes = Readonly<Record<string, Value>>;
export type Child = Node | string | undefined;

/** Sets attributes: `true` gives an empty one, `false` and `undefined` remove it. */
export function set(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
}

/** Makes an element; `test` is its `data-testid`. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes & { readonly test?: string } = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  const { test, ...rest } = attributes;
  set(element, { ...rest, 'data-testid': test });
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** Makes a button that does something. */
export function button(label: string, onClick: () => void, attributes: Attributes & { readonly test?: string } = {}): HTMLButtonElement {
  const element = el('button', { type: 'button', ...attributes }, label);
  element.addEventListener('click', onClick);
  return element;
}

/** Writes text where it changed, so that selections and screen readers are left alone. */
export function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element: HTMLElement, visible: boolean): void {
  if (element.hidden === visible) element.hidden = !visible;
}

let ids = 0;

/** An id that no other element has. */
export const uniqueId = (stem: string): string => `${stem}-${(ids += 1)}`;
