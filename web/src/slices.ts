// The CPU's workers, seen from the worker that trains: starts them, sends what it asks, collects.

import { startWorker } from './blob-worker';
import type { Slices, SliceWeights, StartSlices, Want } from './pkg/pema_web';
import sliceUrl from './slice.ts?worker&url';

export type SliceMessage =
  | { weights: SliceWeights; d: number; scale: number; softcap: number | undefined }
  | { h: Float32Array; want: Want };

export interface SliceReply {
  answer?: Float32Array;
  error?: string;
}

/** More gain little: they share the memory's bandwidth. */
const MOST_WORKERS = 8;

/** One for each core. */
export const sliceCount = (): number => Math.min(MOST_WORKERS, navigator.hardwareConcurrency);

export const startSlices: StartSlices = async (weights, d, scale, softcap) => {
  const workers = weights.map(() => startWorker(new URL(sliceUrl, import.meta.url), 'pema slice'));
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

  const slices: Slices = {
    ask: (h, want) => Promise.all(workers.map((worker) => send(worker, { h, want }, []))),
    isAlive: () => alive,
    close,
  };
  await Promise.all(workers.map((worker, i) => {
    const mine = weights[i] ?? { rows: new Uint16Array() };
    const buffers = 'scales' in mine ? [mine.rows.buffer, mine.scales.buffer] : [mine.rows.buffer];
    return send(worker, { weights: mine, d, scale, softcap }, buffers);
  }));
  return slices;
};
