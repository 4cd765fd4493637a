import type { App } from '../app';
import { el, set, write } from '../dom';
import { bytes, plural } from '../format';
import type { LedgerEntry, LedgerKind } from '../protocol';

const KINDS: Record<LedgerKind, { title: string; note: string }> = {
  request: { title: 'Requests', note: 'nothing but the request itself' },
  prompts: { title: 'Prompts', note: 'prompt token ids, and step budgets' },
  generation: { title: 'Generation', note: 'prompts and generated tokens' },
};

interface Totals {
  sent: number;
  received: number;
  requests: number;
}

export function totals(entries: Iterable<LedgerEntry>, kind?: LedgerKind): Totals {
  const sum = { sent: 0, received: 0, requests: 0 };
  for (const entry of entries) {
    if (kind !== undefined && entry.kind !== kind) continue;
    sum.sent += entry.sent;
    sum.received += entry.received;
    sum.requests += 1;
  }
  return sum;
}

function fill(row: HTMLElement, entry: LedgerEntry): void {
  const { number, kind, request, carried, sent, received, status } = entry;
  set(row, {
    'data-number': number, 'data-kind': kind, 'data-request': request, 'data-carried': carried,
    'data-sent': sent, 'data-received': received, 'data-status': status,
  });
  row.replaceChildren(
    el('code', {}, request),
    el('span', { class: 'status' }, status === 0 ? 'no answer yet' : String(status)),
    el('span', { class: 'carried' }, carried),
    el('span', { class: 'sizes' }, `↑ ${bytes(sent)}  ↓ ${bytes(received)}`),
  );
}

/** Every request that the tab made. */
export function mountLedger(root: HTMLElement, app: App): void {
  const list = el('ol', { class: 'ledger', test: 'ledger', tabindex: 0, 'aria-label': 'Requests, newest first' });
  const rows = new Map<number, { row: HTMLElement; entry: LedgerEntry }>();
  const none = el('p', { class: 'note' }, 'Nothing yet.');
  const totalRows = (Object.keys(KINDS) as LedgerKind[]).map((kind) => {
    const value = el('dd', {}, '–');
    return { kind, value, row: el('div', { 'data-kind': kind, test: `ledger-total-${kind}` }, el('dt', {}, KINDS[kind].title, el('small', {}, KINDS[kind].note)), value) };
  });
  const sent = el('strong');
  const rest = el('span');
  const sum = el('p', { class: 'sum', test: 'ledger-total' }, sent, rest);

  app.store.watch((state) => state.ledger, (ledger) => {
    none.hidden = ledger.size > 0;
    for (const [number, entry] of ledger) {
      const known = rows.get(number);
      if (known?.entry === entry) continue;
      const row = known?.row ?? el('li', { test: 'ledger-row' });
      fill(row, entry);
      if (!known) list.prepend(row);
      rows.set(number, { row, entry });
    }
    const all = totals(ledger.values());
    write(sent, `${bytes(all.sent)} sent`);
    write(rest, `${bytes(all.received)} received in ${plural(all.requests, 'request')}`);
    set(sum, { 'data-sent': all.sent, 'data-received': all.received, 'data-requests': all.requests });
    for (const { kind, value, row } of totalRows) {
      const part = totals(ledger.values(), kind);
      write(value, part.requests === 0 ? '–' : bytes(part.sent));
      set(row, { 'data-sent': part.sent, 'data-received': part.received, 'data-requests': part.requests });
    }
  });

  root.append(
    el('section', { class: 'panel', 'aria-labelledby': 'ledger-title', test: 'ledger-panel' },
      el('h2', { id: 'ledger-title' }, 'What left this tab'),
      sum,
      el('dl', { class: 'facts totals' }, ...totalRows.map(({ row }) => row)),
      el('p', { class: 'note stays-note' }, 'Never sent: targets, their token ids and exact lengths, the adapter, losses.'),
      none,
      list,
      el('p', { class: 'note' }, 'Sizes are of bodies and WebSocket messages, without headers.'),
    ),
  );
}
