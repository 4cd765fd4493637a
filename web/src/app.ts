// What the sections and panels work with.

import { Client } from './client';
import { forgetDevice } from './device';
import { download } from './parts/files';
import { parseService, serviceAddress } from './policy';
import type { Command, DeviceChoice, HeadForm, Task, WorkerEvent } from './protocol';
import { forgetService, rebind, type Binding } from './service';
import { failed, initialState, received, sent, type State } from './state';
import { Store } from './store';

export class App {
  readonly store: Store<State>;
  readonly #binding: Binding;
  readonly #client: Client;
  /** Commands that wait for the running one: the worker takes one at a time. */
  #waiting: Command[] = [];

  constructor(binding: Binding, device: DeviceChoice) {
    this.#binding = binding;
    this.store = new Store(initialState(device));
    this.#client = new Client({
      event: (event) => this.#received(event),
      crashed: (reason) => this.#crashed(reason),
    });
  }

  /** Where to connect, as the address bar or an earlier page load says. */
  get suggestedService(): string {
    return this.#binding.suggested;
  }

  /** The form of the head that was chosen before the page was loaded again. */
  get suggestedHead(): HeadForm {
    return this.#binding.pending?.head ?? 'f16';
  }

  send(command: Command): void {
    if (command.type !== 'stop' && this.store.state.busy !== undefined) {
      this.#waiting.push(command);
      return;
    }
    this.store.update((state) => sent(state, command));
    this.#client.send(command);
  }

  /** Starts the worker, and goes on with what was asked for before the page was loaded again. */
  start(): void {
    this.send({ type: 'open', device: this.store.state.deviceChoice });
    const { pending } = this.#binding;
    if (pending) this.connect(pending.url, pending.key, pending.head);
  }

  /** Connects to a service, in a new page load when the policy in force forbids it here. */
  connect(address: string, key: string | undefined, head: HeadForm): void {
    let service: URL;
    try {
      service = parseService(address);
    } catch (error) {
      this.fail('connect', 'bad-address', error instanceof Error ? error.message : String(error));
      return;
    }
    if (this.#binding.reaches(service)) this.send({ type: 'connect', url: serviceAddress(service), key, head });
    else rebind(service, key, head);
  }

  chooseDevice(device: DeviceChoice): void {
    this.store.update((state) => ({ ...state, deviceChoice: device }));
    this.send({ type: 'open', device });
  }

  /** Deletes everything that this site keeps in the browser. */
  forget(): void {
    forgetDevice();
    forgetService();
    this.send({ type: 'forget' });
  }

  /** Something went wrong in the page itself. */
  fail(during: Task, kind: string, message: string, details: string[] = []): void {
    this.store.update((state) => failed(state, during, { kind, message, details }));
  }

  dismiss(during: Task): void {
    this.store.update((state) => ({ ...state, failures: { ...state.failures, [during]: undefined } }));
  }

  #received(event: WorkerEvent): void {
    if (event.type === 'adapter-exported') download(`${event.name.replace(/\.pema\.safetensors$/, '')}.pema.safetensors`, event.bytes);
    this.store.update((state) => received(state, event, performance.now()));
    if (event.type !== 'idle') return;
    const next = this.#waiting.shift();
    if (next) this.send(next);
  }

  /** A new worker remembers nothing but what is in storage. */
  #crashed(reason: string): void {
    this.#waiting = [];
    const { opened, ended, ledger, deviceChoice, run, evaluation, generation, busy } = this.store.state;
    this.store.update(() => ({ ...initialState(deviceChoice), ended: ended + (busy ? 1 : 0), ledger, run, evaluation, generation }));
    const next = opened
      ? 'It has been started again, and what was downloaded or trained before is still in storage. Connect again to go on.'
      : 'Reload the page; if that does not help, use a current browser.';
    if (opened) this.send({ type: 'open', device: deviceChoice });
    this.fail('open', 'worker-crashed', `The worker stopped unexpectedly. ${next}`, [reason]);
  }
}
