// The worker, seen from the page.

import type { Command, WorkerEvent } from './protocol';
import workerUrl from './worker.ts?worker&url';

interface Listener {
  event(event: WorkerEvent): void;
  /** The worker is gone. */
  crashed(reason: string): void;
}

/**
 * Starts the worker from a `blob:` URL that imports its real script. A worker loaded from the
 * network would follow the Content-Security-Policy of its own response, which a static host
 * does not send; one from a blob inherits the page's. The import is a dynamic one, which counts
 * as a script: a static one counts as a worker, and `worker-src` allows no network at all.
 * Messages that arrive before the script does are kept for it.
 */
function start(): Worker {
  const script = new URL(workerUrl, import.meta.url).href;
  const loader = `
    const early = [];
    self.onmessage = (message) => early.push(message);
    import(${JSON.stringify(script)}).then(() => early.forEach((message) => self.onmessage(message)), self.reportError);`;
  const blob = URL.createObjectURL(new Blob([loader], { type: 'text/javascript' }));
  return new Worker(blob, { type: 'module', name: 'pema' });
}

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
