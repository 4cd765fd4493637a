// A real service: the default model behind `pema serve`.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { RecordingProxy } from '../capture/proxy';
import { PEMA } from './environment';

/** Loading the model and proving its head takes seconds. */
const START_LIMIT = 120_000;

export interface ServiceOptions {
  /** Origins of pages that may call. */
  readonly origins: readonly string[];
  readonly key?: string;
}

/** The process. */
export class ServiceProcess {
  readonly #options: ServiceOptions;
  readonly #data = mkdtempSync(join(tmpdir(), 'pema-service-'));
  #child: ChildProcess | undefined;
  #port = 0;

  private constructor(options: ServiceOptions) {
    this.#options = options;
  }

  static async start(options: ServiceOptions): Promise<ServiceProcess> {
    const process = new ServiceProcess(options);
    await process.start();
    return process;
  }

  get port(): number {
    return this.#port;
  }

  /** Starts it, again on the same data, unless it runs. */
  async start(): Promise<void> {
    if (this.#child) return;
    const { origins, key } = this.#options;
    const args = ['serve', '--model', 'default', '--host', '127.0.0.1', '--port', '0', '--data-dir', this.#data];
    const allowed = origins.flatMap((origin) => ['--allow-origin', origin]);
    const child = spawn(PEMA, [...args, ...allowed, ...(key === undefined ? [] : ['--key', key])], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    const log: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
    this.#port = await listening(child, log);
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#data, { recursive: true, force: true });
  }
}

/** A process as one test's tabs see it: at an address of its own, with everything recorded. */
export class Service {
  readonly process: ServiceProcess;
  /** The tab talks to this; its address stays when the process is started again. */
  readonly proxy: RecordingProxy;

  private constructor(process: ServiceProcess, proxy: RecordingProxy) {
    this.process = process;
    this.proxy = proxy;
  }

  static async before(process: ServiceProcess): Promise<Service> {
    return new Service(process, await RecordingProxy.before(() => process.port));
  }

  get url(): string {
    return this.proxy.url;
  }

  /** Its address past the proxy, for the tests' own questions. */
  get direct(): string {
    return `http://127.0.0.1:${this.process.port}`;
  }
}

/** Its port, once it says that it listens. */
async function listening(child: ChildProcess, log: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => reject(new Error(`pema serve ${reason}:\n${log.slice(-20).join('\n')}`));
    const timer = setTimeout(() => fail('did not start in time'), START_LIMIT);
    if (child.stdout) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const port = /listening on http:\/\/[\d.]+:(\d+)/.exec(line)?.[1];
        if (port === undefined) return;
        clearTimeout(timer);
        resolve(Number(port));
      });
    }
    child.on('error', (error) => fail(`could not be started (${error.message}); build it with cargo xtask build`));
    child.on('exit', (code) => fail(`ended with ${code}`));
  });
}
