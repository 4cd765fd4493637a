// The worker, seen from the page.

import { startWorker } from './blob-worker';
import type { Command, WorkerEvent } from './protocol';
import workerUrl from './worker.ts?worker&url';

interface Listener {
  event(event: WorkerEvent): void;
  /** The worker is gone. */
  crashed(reason: string): void;
}

const start = (): Worker => startWorker(new URL(workerUrl, import.meta.url), 'pema');

/** Sends commands, and starts a new worker when one has died. */
export class Client {
  #worker: Worker | undefined;
  #listener: Listener;
  /** Ledger numbers start again with each worker; entries of earlier ones must not be lost. */
  #firstNumber = 0;
  #lastNumber = -1;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  send(command: Command): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(command);
  }

  /** Ends the worker; the next command starts another. */
  terminate(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#firstNumber = this.#lastNumber + 1;
  }

  #start(): Worker {
    const worker = start();
    worker.onmessage = (message: MessageEvent<WorkerEvent>) => this.#listener.event(this.#numbered(message.data));
    worker.onerror = (error) => {
      error.preventDefault();
      this.terminate();
      this.#listener.crashed(error.message || 'Its script could not be loaded.');
    };
    return worker;
  }

  #numbered(event: WorkerEvent): WorkerEvent {
    if (event.type !== 'ledger') return event;
    const number = event.entry.number + this.#firstNumber;
    this.#lastNumber = Math.max(this.#lastNumber, number);
    return { ...event, entry: { ...event.entry, number } };
  }
}
