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

export class Service {
  readonly #options: ServiceOptions;
  readonly #data = mkdtempSync(join(tmpdir(), 'pema-service-'));
  #child: ChildProcess | undefined;
  #port = 0;
  /** The tab talks to this, which records it. */
  readonly proxy: RecordingProxy;

  private constructor(options: ServiceOptions, proxy: RecordingProxy) {
    this.#options = options;
    this.proxy = proxy;
  }

  static async start(options: ServiceOptions): Promise<Service> {
    const proxy: RecordingProxy = await RecordingProxy.before(() => service.#port);
    const service: Service = new Service(options, proxy);
    await service.restart();
    return service;
  }

  /** Its address, through the proxy. */
  get url(): string {
    return this.proxy.url;
  }

  /** Its address past the proxy, for the tests' own questions. */
  get direct(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts it again on the same data; the address stays. */
  async restart(): Promise<void> {
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
    await this.proxy.close();
    rmSync(this.#data, { recursive: true, force: true });
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
