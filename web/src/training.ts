// The course of one training run, as the chart and the numbers beside it need it.

import type { Phase, TrainSettings, WorkerEvent } from './protocol';

export const PHASES: readonly Phase[] = ['reconstruction', 'imitation', 'joint'];

type TrainStep = Extract<WorkerEvent, { type: 'train-step' }>;
type Validated = Extract<WorkerEvent, { type: 'validated' }>;

/** Losses over the steps of a phase; the three arrays have one length. */
export interface Curve {
  readonly steps: number[];
  readonly training: (number | null)[];
  readonly validation: (number | null)[];
}

/** A run. Curves grow in place; every change makes a new `Run` around them. */
export interface Run {
  readonly settings: TrainSettings;
  readonly curves: Readonly<Record<Phase, Curve>>;
  readonly validations: readonly Validated[];
  readonly latest: TrainStep | undefined;
  /** When and where the current phase began in this tab, to tell how long it will take. */
  readonly pace: { readonly phase: Phase; readonly step: number; readonly at: number } | undefined;
}

const emptyCurve = (): Curve => ({ steps: [], training: [], validation: [] });

export function newRun(settings: TrainSettings): Run {
  return {
    settings,
    curves: { reconstruction: emptyCurve(), imitation: emptyCurve(), joint: emptyCurve() },
    validations: [],
    latest: undefined,
    pace: undefined,
  };
}

/** The index of `step`, which is at or near the end. */
function indexOf(curve: Curve, step: number): number {
  let at = curve.steps.length;
  while (at > 0 && (curve.steps[at - 1] ?? 0) > step) at -= 1;
  if (at > 0 && curve.steps[at - 1] === step) return at - 1;
  curve.steps.splice(at, 0, step);
  curve.training.splice(at, 0, null);
  curve.validation.splice(at, 0, null);
  return at;
}

export function withStep(run: Run, event: TrainStep, now: number): Run {
  const curve = run.curves[event.phase];
  curve.training[indexOf(curve, event.step)] = event.loss;
  const pace = run.pace?.phase === event.phase ? run.pace : { phase: event.phase, step: event.step, at: now };
  return { ...run, latest: event, pace };
}

export function withValidation(run: Run, event: Validated): Run {
  const curve = run.curves[event.phase];
  curve.validation[indexOf(curve, event.step)] = event.loss;
  return { ...run, validations: [...run.validations, event] };
}

/** Epochs that a phase may take. */
export function maxEpochs(phase: Phase, settings: TrainSettings): number {
  return phase === 'reconstruction' ? settings.reconstructionEpochs : settings.jointEpochs;
}

/** Steps that the current phase may take, if nothing ends it early. */
export function phaseSteps(run: Run): number {
  const { latest, settings } = run;
  if (!latest) return 0;
  return maxEpochs(latest.phase, settings) * latest.stepsInEpoch;
}

/** Seconds that the current phase may still take; it may end early. */
export function secondsLeft(run: Run, now: number): number | undefined {
  const { latest, pace } = run;
  if (!latest || !pace || latest.step <= pace.step) return undefined;
  const perStep = (now - pace.at) / (latest.step - pace.step) / 1000;
  return perStep * Math.max(0, phaseSteps(run) - latest.step);
}
