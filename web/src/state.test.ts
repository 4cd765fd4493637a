import { describe, expect, test } from 'vitest';
import { PRESETS } from './presets';
import type { AdapterInfo, Asking, Command, LedgerEntry, WorkerEvent } from './protocol';
import { initialState, received, sent, type State } from './state';

const settings = { name: 'a', ...(PRESETS[0]?.settings as (typeof PRESETS)[number]['settings']) };
const train: Command = { type: 'train', settings, resume: false };

const step = (phase: 'reconstruction' | 'joint', at: number, loss: number): WorkerEvent => ({
  type: 'train-step', phase, epoch: 0, step: at, stepsInEpoch: 5, loss, reconstruction: undefined, prediction: undefined, pairsPerSecond: 1,
});
const validated = (phase: 'reconstruction' | 'joint', at: number, loss: number): WorkerEvent => ({
  type: 'validated', phase, epoch: 0, step: at, loss, best: true,
});

const after = (state: State, ...events: WorkerEvent[]): State => events.reduce((all, event, index) => received(all, event, index * 1000), state);

describe('a task', () => {
  test('is busy from its command to idle, and not merely to its answer', () => {
    const opening = sent(initialState('auto'), { type: 'open', device: 'auto' });
    expect(opening.busy).toBe('open');
    const ready = after(opening, { type: 'ready', devices: [], chosen: 'cpu', storage: { used: 0, quota: 1, persistent: false }, adapters: [] });
    expect(ready.busy).toBe('open');
    expect(after(ready, { type: 'idle' })).toMatchObject({ busy: undefined, ended: 1, opened: true });
  });

  test('leaves its failure beside it, until it is tried again', () => {
    const failure = { kind: 'unreachable', message: 'no answer', details: [] };
    const state = after(sent(initialState('auto'), { type: 'download-memory', contexts: 'steps' }), { type: 'failed', during: 'memory', failure }, { type: 'idle' });
    expect(state.failures.memory).toBe(failure);
    expect(sent(state, { type: 'download-memory', contexts: 'steps' }).failures.memory).toBeUndefined();
  });

  test('that never began because its command was unreadable does not keep the page waiting', () => {
    const failure = { kind: 'bad-command', message: '', details: [] };
    expect(after(sent(initialState('auto'), train), { type: 'failed', during: 'open', failure }).busy).toBeUndefined();
  });
});

describe('training', () => {
  test('aligns validations with the steps they follow', () => {
    const state = after(sent(initialState('auto'), train), validated('joint', 0, 9), step('joint', 1, 8), step('joint', 2, 7), validated('joint', 2, 7.5), step('joint', 3, 6));
    const curve = state.run?.curves.joint;
    expect(curve?.steps).toEqual([0, 1, 2, 3]);
    expect(curve?.training).toEqual([null, 8, 7, 6]);
    expect(curve?.validation).toEqual([9, null, 7.5, null]);
    expect(state.run?.curves.reconstruction.steps).toEqual([]);
  });

  test('that was stopped can go on, whether or not it gave an adapter', () => {
    const stopping = sent(sent(initialState('auto'), train), { type: 'stop' });
    const adapter: AdapterInfo = { id: '1', name: 'a', rank: 1, contexts: 'steps', gate: false, contrast: false, bytes: 1, headHash: '', fits: true, selected: true, stored: true };
    expect(after(stopping, { type: 'trained', adapter, stopped: true }).resumable).toEqual(settings);
    const failure = { kind: 'stopped', message: '', details: [] };
    expect(after(stopping, { type: 'failed', during: 'train', failure }).resumable).toEqual(settings);
    expect(after(stopping, { type: 'trained', adapter, stopped: false }).resumable).toBeUndefined();
  });
});

test('the model writes for comparison unless it is not to learn what is written', () => {
  const decoding = { mixture: { mixing: 'arithmetic', schedule: 'constant', lambdaMax: 1 }, sampling: undefined, noRepeat: 0, maxTokens: 1, oneLine: false } as const;
  const compares = (consult: Asking | undefined): boolean | undefined =>
    sent(initialState('auto'), { type: 'generate', input: '', decoding: { ...decoding, consult } }).generation?.compares;
  expect([undefined, { first: 0 }, { first: 2 }, { above: 3 }].map(compares)).toEqual([true, false, false, false]);
});

test('a ledger entry replaces the one of its number', () => {
  const entry: LedgerEntry = { number: 3, at: 0, request: 'GET /v1/generate', carried: '', kind: 'generation', sent: 4, received: 0, status: 101 };
  const state = after(initialState('auto'), { type: 'ledger', entry }, { type: 'ledger', entry: { ...entry, sent: 8 } });
  expect([...state.ledger.values()].map(({ sent: bytes }) => bytes)).toEqual([8]);
});

test('connecting again makes the pairs and the memory of the old model stale', () => {
  const data = { train: 1, validation: 1, test: 1, oneLine: true, targetTokens: 1, promptTokens: 1, memoryOfSteps: { rows: 1, bytes: 1 }, memoryOfPrompts: { rows: 1, bytes: 1 }, memoryOfPromptTokens: { rows: 1, bytes: 1 }, preview: [] };
  const state = after(initialState('auto'), { type: 'data-loaded', data });
  expect(sent(state, { type: 'connect', url: 'http://localhost', key: undefined, head: 'f16' }).data).toBeUndefined();
});

describe('an estimate of what a second round tells', () => {
  const rehearsed = after(sent(initialState('auto'), { type: 'rehearse', mixture: { mixing: 'arithmetic', schedule: 'constant', lambdaMax: 0.5 }, noRepeat: 4 }), { type: 'rehearsed', sequences: 0.1, tokens: 0.4 });

  test('is there once it is made', () => {
    expect(rehearsed).toMatchObject({ busy: 'regenerate', rehearsal: { sequences: 0.1 } });
  });

  test('does not outlive the adapter and the memory that it is of', () => {
    const others: Command[] = [train, { type: 'select-adapter', id: 'b' }, { type: 'download-memory', contexts: 'steps' }];
    for (const other of others) expect(sent(rehearsed, other).rehearsal).toBeUndefined();
    expect(sent(rehearsed, { type: 'regenerate', maxOverlap: 0.2 }).rehearsal).toBeDefined();
  });
});
