import type { App } from '../app';
import { LossChart } from '../chart';
import { el, show, write } from '../dom';
import { count, duration, loss } from '../format';
import type { Phase } from '../protocol';
import { PHASES, maxEpochs, phaseSteps, secondsLeft, type Run } from '../training';
import { progressBar } from './progress';

const TITLES: Record<Phase, string> = {
  reconstruction: 'Phase 1: reconstruction',
  imitation: 'Phase 1: the model’s own words',
  joint: 'Phase 2: your targets',
};

/** The running numbers of the latest step. */
function ticker(app: App): HTMLElement {
  const cells = ['Phase', 'Epoch', 'Step', 'Loss', 'Rows per second', 'Left, at most'].map((name) => {
    const value = el('dd', {}, '–');
    return { row: el('div', {}, el('dt', {}, name), value), value };
  });
  const bar = el('progress', { max: 1, value: 0, 'aria-label': 'Progress of the phase' });
  const element = el('div', { class: 'ticker', test: 'ticker' }, el('dl', { class: 'facts' }, ...cells.map(({ row }) => row)), bar);
  app.store.watchAll(({ run, busy }) => {
    const latest = run?.latest;
    show(element, latest !== undefined);
    if (!run || !latest) return;
    const left = busy === 'train' ? secondsLeft(run, performance.now()) : undefined;
    const texts = [
      latest.phase === 'joint' ? '2 of 2' : '1 of 2',
      `${latest.epoch + 1} of ${maxEpochs(latest.phase, run.settings)}`,
      count(latest.step),
      loss(latest.loss),
      count(Math.round(latest.pairsPerSecond)),
      left === undefined ? '–' : duration(left),
    ];
    cells.forEach(({ value }, index) => write(value, texts[index] ?? ''));
    bar.value = Math.min(1, latest.step / Math.max(1, phaseSteps(run)));
    element.dataset['phase'] = latest.phase;
    element.dataset['step'] = String(latest.step);
    element.dataset['loss'] = String(latest.loss);
    element.dataset['pairsPerSecond'] = String(latest.pairsPerSecond);
  });
  return element;
}

function chartOf(app: App, phase: Phase): HTMLElement {
  const canvas = el('div', { class: 'chart' });
  const chart = new LossChart(canvas);
  const figure = el('figure', { test: `chart-${phase}` }, el('figcaption', {}, TITLES[phase]), canvas);
  app.store.watch((state) => state.run, (run) => {
    const curve = run?.curves[phase];
    show(figure, curve !== undefined && curve.steps.length > 0);
    if (curve && curve.steps.length > 0) chart.show(curve);
  });
  return figure;
}

/** The same validations as in the charts, as a table. */
function validationTable(app: App): HTMLElement {
  const body = el('tbody');
  const head = ['Phase', 'Epoch', 'Steps', 'Validation loss', ''].map((name) => el('th', { scope: 'col' }, name));
  const table = el('table', { class: 'numbers' }, el('thead', {}, el('tr', {}, ...head)), body);
  const element = el('details', {}, el('summary', {}, 'Validations as a table'), el('div', { class: 'scroll' }, table));
  const draw = (run: Run | undefined): void => {
    const validations = run?.validations ?? [];
    show(element, validations.length > 0);
    if (body.rows.length > validations.length) body.replaceChildren();
    for (const { phase, epoch, step, loss: value, best } of validations.slice(body.rows.length)) {
      const attributes = { 'data-phase': phase, 'data-epoch': epoch, 'data-step': step, 'data-loss': value, 'data-best': String(best) };
      const cells = [phase === 'joint' ? '2' : '1', count(epoch + 1), count(step), loss(value), best ? 'best so far' : ''];
      body.append(el('tr', { test: 'validation', ...attributes }, ...cells.map((cell) => el('td', {}, cell))));
    }
  };
  app.store.watch((state) => state.run?.settings, () => body.replaceChildren());
  app.store.watch((state) => state.run, draw);
  return element;
}

/** A training run, live. */
export function runView(app: App): HTMLElement {
  const charts = el('div', { class: 'charts' }, ...PHASES.map((phase) => chartOf(app, phase)));
  const gate = el('div', {}, progressBar(app, 'gate', 'Gate'));
  app.store.watch((state) => state.busy === 'train', (visible) => show(gate, visible));
  return el('div', { test: 'run' }, ticker(app), gate, charts, validationTable(app));
}
