// The CPU's workers, seen from the worker that trains: starts them, sends what it asks, collects.

import { startWorker } from './blob-worker';
import type { Slices, SliceWeights, StartSlices, Want } from './pkg/pema_web';
import sliceUrl from './slice.ts?worker&url';

/** Rows of a head, a question about it, or that it is needed no more: that alone is not answered. */
export type SliceMessage =
  | { head: number; weights: SliceWeights; d: number; scale: number; softcap: number | undefined }
  | { head: number; h: Float32Array; want: Want }
  | { head: number };

export interface SliceReply {
  answer?: Float32Array;
  error?: string;
}

/** More gain little: they share the memory's bandwidth. */
const MOST_WORKERS = 8;

/** One for each core. */
export const sliceCount = (): number => Math.min(MOST_WORKERS, navigator.hardwareConcurrency);

export const startSlices: StartSlices = (count) => {
  const workers = Array.from({ length: count }, () => startWorker(new URL(sliceUrl, import.meta.url), 'pema slice'));
  /** Which workers have rows of a head. */
  const holders = new Map<number, Worker[]>();
  let heads = 0;
  let alive = true;
  const close = (): void => {
    alive = false;
    workers.forEach((worker) => worker.terminate());
  };

  const send = (worker: Worker, message: SliceMessage, transfer: Transferable[]): Promise<Float32Array> =>
    new Promise((resolve, reject) => {
      const fail = (reason: string): void => {
        close();
        reject(new Error(reason));
      };
      worker.onmessage = ({ data }: MessageEvent<SliceReply>) =>
        data.error === undefined ? resolve(data.answer ?? new Float32Array()) : fail(data.error);
      worker.onerror = (error) => {
        error.preventDefault();
        fail(error.message || 'its script could not be loaded');
      };
      worker.postMessage(message, transfer);
    });

  const load: Slices['load'] = async (weights, d, scale, softcap) => {
    const head = heads++;
    const mine = workers.slice(0, weights.length);
    holders.set(head, mine);
    await Promise.all(mine.map((worker, i) => {
      const rows = weights[i] ?? { rows: new Uint16Array() };
      const buffers = 'scales' in rows ? [rows.rows.buffer, rows.scales.buffer] : [rows.rows.buffer];
      return send(worker, { head, weights: rows, d, scale, softcap }, buffers);
    }));
    return head;
  };

  return {
    load,
    ask: (head, h, want) => Promise.all((holders.get(head) ?? []).map((worker) => send(worker, { head, h, want }, []))),
    forget: (head) => {
      for (const worker of holders.get(head) ?? []) worker.postMessage({ head } satisfies SliceMessage);
      holders.delete(head);
    },
    isAlive: () => alive,
    close,
  };
};
