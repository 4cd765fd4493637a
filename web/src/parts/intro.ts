import { el } from '../dom';

function side(title: string, who: string, kind: string, items: readonly string[]): HTMLElement {
  return el('div', { class: `side ${kind}` }, el('h3', {}, title), el('small', {}, who), el('ul', {}, ...items.map((item) => el('li', {}, item))));
}

function flow(direction: 'out' | 'in', text: string): HTMLElement {
  return el('li', { class: direction }, el('span', {}, text));
}

/** What this is, and a picture of what stays and what leaves. */
export function intro(): HTMLElement {
  const picture = el('figure', { class: 'flow', 'aria-label': 'What stays in this tab and what leaves it' },
    side('This tab', 'you', 'stays-side', ['targets', 'training and losses', 'the adapter']),
    el('ul', { class: 'wires' }, flow('out', 'prompts, then generated tokens'), flow('in', 'contexts: what the model thought')),
    side('The service', 'the model’s owner', 'leaves-side', ['the language model', 'its weights']),
  );
  return el('div', { class: 'intro' },
    el('div', {},
      el('h1', {}, 'Adapt a language model that its owner will not hand out'),
      el('p', {}, 'The model stays on its owner’s machine and your training targets stay in this browser tab, where the adapter is trained. Prompts cross over, and the contexts that the model makes of them come back.'),
    ),
    picture,
  );
}
