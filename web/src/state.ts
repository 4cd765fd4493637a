// What the page knows, and how each message of the worker changes it.

import type {
  AdapterInfo, Command, DataSummary, DeviceChoice, DeviceInfo, DeviceKind, EvaluationRow, EvaluationScores, Failure,
  LedgerEntry, MemorySummary, Mixture, ModelInfo, Stage, StepToken, StorageInfo, Task, TrainSettings, TriedMixture, Variant,
  WorkerEvent,
} from './protocol';
import { newRun, withStep, withValidation, type Run } from './training';

type Of<T extends WorkerEvent['type']> = Extract<WorkerEvent, { type: T }>;

export interface Generation {
  /** The model writes too. */
  readonly compares: boolean;
  readonly tokens: Readonly<Record<Variant, readonly StepToken[]>>;
  readonly result: Of<'generated'> | undefined;
}

export interface Evaluation {
  readonly rows: readonly EvaluationRow[];
  readonly result: { pairs: number; plm: EvaluationScores | undefined; mixture: EvaluationScores; stopped: boolean } | undefined;
}

/** Mixtures that are tried on validation pairs. */
export interface Tuning {
  readonly tried: readonly TriedMixture[];
  readonly result: Of<'tuned'> | undefined;
}

export interface State {
  readonly deviceChoice: DeviceChoice;
  /** The worker answered `ready`. */
  readonly opened: boolean;
  readonly devices: readonly DeviceInfo[];
  readonly device: DeviceKind | undefined;
  readonly storage: StorageInfo | undefined;
  readonly adapters: readonly AdapterInfo[];
  /** The task that is running; another one has to wait. */
  readonly busy: Task | undefined;
  /** The user asked the running task to stop. */
  readonly stopping: boolean;
  /** Tasks that have come to an end, well or badly. */
  readonly ended: number;
  readonly failures: Readonly<Partial<Record<Task, Failure>>>;
  readonly progress: Readonly<Partial<Record<Stage, Of<'progress'>>>>;
  readonly model: ModelInfo | undefined;
  readonly resumable: TrainSettings | undefined;
  readonly columns: Of<'data-inspected'> | undefined;
  readonly data: DataSummary | undefined;
  readonly memory: MemorySummary | undefined;
  readonly run: Run | undefined;
  readonly trained: Of<'trained'> | undefined;
  readonly generation: Generation | undefined;
  readonly tuning: Tuning | undefined;
  readonly evaluation: Evaluation | undefined;
  /** What a second round's memory would tell. */
  readonly rehearsal: Of<'rehearsed'> | undefined;
  readonly ledger: ReadonlyMap<number, LedgerEntry>;
}

export function initialState(deviceChoice: DeviceChoice): State {
  return {
    deviceChoice,
    opened: false,
    devices: [],
    device: undefined,
    storage: undefined,
    adapters: [],
    busy: undefined,
    stopping: false,
    ended: 0,
    failures: {},
    progress: {},
    model: undefined,
    resumable: undefined,
    columns: undefined,
    data: undefined,
    memory: undefined,
    run: undefined,
    trained: undefined,
    generation: undefined,
    tuning: undefined,
    evaluation: undefined,
    rehearsal: undefined,
    ledger: new Map(),
  };
}

/** The task of a command, and the place where its failure is shown. */
export function taskOf(command: Exclude<Command, { type: 'stop' }>): Task {
  switch (command.type) {
    case 'open':
    case 'forget': return 'open';
    case 'connect': return 'connect';
    case 'inspect-data':
    case 'load-data': return 'data';
    case 'download-memory': return 'memory';
    case 'train': return 'train';
    case 'generate': return 'generate';
    case 'tune': return 'tune';
    case 'evaluate': return 'evaluate';
    case 'rehearse':
    case 'regenerate': return 'regenerate';
    case 'select-adapter':
    case 'export-adapter':
    case 'import-adapter':
    case 'delete-adapter': return 'adapters';
  }
}

/** What a command makes stale. */
function cleared(state: State, command: Command): Partial<State> {
  switch (command.type) {
    case 'connect':
      return { model: undefined, resumable: undefined, data: undefined, memory: undefined, tuning: undefined, rehearsal: undefined, progress: {} };
    case 'load-data':
      return { data: undefined, memory: undefined, tuning: undefined, evaluation: undefined, rehearsal: undefined };
    case 'download-memory':
      return { memory: undefined, rehearsal: undefined, progress: {} };
    case 'train':
      return { run: command.resume && state.run ? { ...state.run, pace: undefined } : newRun(command.settings), trained: undefined, tuning: undefined, rehearsal: undefined, progress: {} };
    case 'generate':
      return { generation: { compares: command.decoding.consult === undefined, tokens: { plm: [], mixture: [] }, result: undefined } };
    case 'tune':
      return { tuning: { tried: [], result: undefined }, progress: {} };
    case 'evaluate':
      return { evaluation: { rows: [], result: undefined }, progress: {} };
    case 'rehearse':
      return { rehearsal: undefined, progress: {} };
    case 'select-adapter':
    case 'import-adapter':
    case 'delete-adapter':
      return { tuning: undefined, rehearsal: undefined };
    case 'forget':
      return { ...initialState(state.deviceChoice), ledger: state.ledger, ended: state.ended, devices: state.devices };
    default:
      return {};
  }
}

/** The page sends a command; the worker answers every one but `stop` with `idle` in the end. */
export function sent(state: State, command: Command): State {
  if (command.type === 'stop') return { ...state, stopping: true };
  const task = taskOf(command);
  return { ...state, ...cleared(state, command), failures: { ...state.failures, [task]: undefined }, busy: task, stopping: false };
}

/** Whether two mixtures are one. */
export const isSameMixture = (a: Mixture, b: Mixture): boolean => a.mixing === b.mixing && a.schedule === b.schedule && a.lambdaMax === b.lambdaMax;

/** What a mixture has now in place of what it had after fewer pairs. */
const withTried = (all: readonly TriedMixture[], tried: TriedMixture): readonly TriedMixture[] =>
  all.some(({ mixture }) => isSameMixture(mixture, tried.mixture))
    ? all.map((one) => (isSameMixture(one.mixture, tried.mixture) ? tried : one))
    : [...all, tried];

const ended = (state: State): State => ({ ...state, busy: undefined, stopping: false, ended: state.ended + 1 });

/** Something failed. */
export function failed(state: State, during: Task, failure: Failure): State {
  return { ...state, failures: { ...state.failures, [during]: failure } };
}

/** The worker sent an event. */
export function received(state: State, event: WorkerEvent, now: number): State {
  switch (event.type) {
    case 'ready':
      return { ...state, opened: true, devices: event.devices, device: event.chosen, storage: event.storage, adapters: event.adapters };
    case 'connected':
      return { ...state, model: event.model, adapters: event.adapters, resumable: event.resumable };
    case 'data-inspected':
      return { ...state, columns: event };
    case 'data-loaded':
      return { ...state, data: event.data };
    case 'progress':
      return { ...state, progress: { ...state.progress, [event.stage]: event } };
    case 'memory-ready':
      return { ...state, memory: event.memory, rehearsal: undefined };
    case 'train-step':
      return state.run ? { ...state, run: withStep(state.run, event, now) } : state;
    case 'validated':
      return state.run ? { ...state, run: withValidation(state.run, event) } : state;
    case 'trained': {
      const others = state.adapters.filter((adapter) => adapter.id !== event.adapter.id).map((adapter) => ({ ...adapter, selected: false }));
      const resumable = event.stopped ? (state.run?.settings ?? state.resumable) : undefined;
      return { ...state, trained: event, resumable, adapters: [...others, event.adapter] };
    }
    case 'token': {
      if (!state.generation) return state;
      const { tokens } = state.generation;
      const grown = { ...tokens, [event.variant]: [...tokens[event.variant], event.token] };
      return { ...state, generation: { ...state.generation, tokens: grown } };
    }
    case 'generated':
      return state.generation ? { ...state, generation: { ...state.generation, result: event } } : state;
    case 'tried':
      return state.tuning ? { ...state, tuning: { ...state.tuning, tried: withTried(state.tuning.tried, event.tried) } } : state;
    case 'tuned':
      return state.tuning ? { ...state, tuning: { ...state.tuning, result: event } } : state;
    case 'evaluating':
      return state.evaluation ? { ...state, evaluation: { ...state.evaluation, rows: [...state.evaluation.rows, event.row] } } : state;
    case 'evaluated':
      return state.evaluation ? { ...state, evaluation: { ...state.evaluation, result: event } } : state;
    case 'rehearsed':
      return { ...state, rehearsal: event };
    case 'adapters':
      return { ...state, adapters: event.adapters };
    case 'adapter-exported':
      return state;
    case 'ledger':
      return { ...state, ledger: new Map(state.ledger).set(event.entry.number, event.entry) };
    case 'failed': {
      // No task began, so no `idle` follows.
      const next = event.failure.kind === 'bad-command' ? ended(state) : state;
      // A run that was stopped before there is an adapter can go on too.
      const resumable = event.during === 'train' && state.stopping ? (state.run?.settings ?? state.resumable) : state.resumable;
      return failed({ ...next, resumable }, event.during, event.failure);
    }
    case 'idle':
      return ended(state);
  }
}
