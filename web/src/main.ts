import './styles/index.css';
import { App } from './app';
import { chosenDevice } from './device';
import { button, el, set, write } from './dom';
import { bytes } from './format';
import { mountDevice } from './panels/device';
import { mountLedger, totals } from './panels/ledger';
import { failureNotice } from './parts/failure';
import { intro } from './parts/intro';
import { stepper } from './parts/stepper';
import { mountConnect } from './sections/connect';
import { mountData } from './sections/data';
import { mountGenerate } from './sections/generate';
import { mountMemory } from './sections/memory';
import { mountTrain } from './sections/train';
import { bind } from './service';

// The policy comes first: nothing may connect before it is in force.
const app = new App(bind(), chosenDevice());

/** On narrow screens the panels are a sheet that this button opens. */
function sheetButton(aside: HTMLElement): HTMLElement {
  const open = (wanted: boolean): void => {
    set(aside, { 'data-open': wanted });
    set(toggle, { 'aria-expanded': String(wanted) });
  };
  const toggle = button('', () => open(!aside.hasAttribute('data-open')), { class: 'sheet-button', 'aria-controls': aside.id, 'aria-expanded': 'false', test: 'open-panels' });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !aside.hasAttribute('data-open')) return;
    open(false);
    toggle.focus();
  });
  app.store.watch((state) => state.ledger, (ledger) => {
    const { sent } = totals(ledger.values());
    write(toggle, `What left this tab: ${bytes(sent)}`);
  });
  return toggle;
}

function mount(root: HTMLElement): void {
  const steps = el('main', { id: 'steps' }, intro(), failureNotice(app, 'open'));
  const aside = el('aside', { id: 'panels', 'aria-label': 'Ledger and device' });
  mountConnect(steps, app);
  mountData(steps, app);
  mountMemory(steps, app);
  mountTrain(steps, app);
  mountGenerate(steps, app);
  mountLedger(aside, app);
  mountDevice(aside, app);
  const brand = el('a', { class: 'brand', href: '#steps' }, 'Pema');
  root.append(el('header', { class: 'top' }, brand, stepper(app)), el('div', { class: 'columns' }, steps, aside), sheetButton(aside));
  // For tests: which task runs, and how many have ended.
  app.store.watchAll(({ busy, ended, opened }) => set(root, { 'data-busy': busy ?? 'none', 'data-ended': ended, 'data-opened': String(opened) }));
}

const root = document.querySelector<HTMLElement>('#app');
if (root) {
  mount(root);
  app.start();
}
