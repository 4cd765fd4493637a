// The losses of one phase, as a uPlot chart that follows the page's colours and width.

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { loss } from './format';
import type { Curve } from './training';

const HEIGHT = 220;

export class LossChart {
  readonly #root: HTMLElement;
  #plot: uPlot | undefined;
  #curve: Curve | undefined;
  #frame = 0;

  constructor(root: HTMLElement) {
    this.#root = root;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(root);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#rebuild());
  }

  /** Shows a curve; many calls within a frame are drawn once. */
  show(curve: Curve): void {
    this.#curve = curve;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#plot) this.#plot.setData(this.#data());
      else this.#rebuild();
    });
  }

  #data(): uPlot.AlignedData {
    const { steps, training, validation } = this.#curve ?? { steps: [], training: [], validation: [] };
    return [steps, training, validation];
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(200, this.#root.clientWidth), height: HEIGHT };
  }

  #rebuild(): void {
    this.#plot?.destroy();
    this.#plot = new uPlot(options(this.#size(), this.#root), this.#data(), this.#root);
  }
}

function options(size: { width: number; height: number }, root: HTMLElement): uPlot.Options {
  const style = getComputedStyle(root);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line'), width: 1 },
    font: '12px system-ui',
  };
  const value = (_: uPlot, raw: number | null): string => (raw === null || raw === undefined ? '–' : loss(raw));
  return {
    ...size,
    scales: { x: { time: false } },
    axes: [axis, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => String(Number(tick.toPrecision(3)))) }],
    series: [
      { label: 'Step' },
      { label: 'Training loss', stroke: colour('--chart-training'), width: 1.25, spanGaps: true, value, points: { show: false } },
      { label: 'Validation loss', stroke: colour('--chart-validation'), width: 2, spanGaps: true, value, points: { show: true, size: 6 } },
    ],
    cursor: { drag: { x: false, y: false } },
  };
}
