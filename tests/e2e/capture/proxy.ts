// A TCP proxy that keeps every byte of both directions, before anyone has interpreted it.

import { once } from 'node:events';
import { createServer, connect, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

/** One connection, in full. */
export interface Recording {
  readonly sent: Buffer[];
  readonly received: Buffer[];
}

/**
 * Changes bytes on their way to the tab, or cuts the connection; `sent` is what the tab sent on it
 * so far.
 */
export type Tamper = (bytes: Buffer, sent: Buffer) => Buffer | 'cut';

export class RecordingProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #recordings: Recording[] = [];
  tamper: Tamper | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens on a free port, or on `port`. */
  static async before(upstream: () => number, port = 0): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(createServer({ allowHalfOpen: false }));
    proxy.#server.on('connection', (tab) => proxy.#join(tab, upstream()));
    proxy.#server.listen(port, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Connections since the proxy began, the ones that are still open too. */
  get recordings(): readonly Recording[] {
    return this.#recordings;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(tab: Socket, port: number): void {
    const recording: Recording = { sent: [], received: [] };
    this.#recordings.push(recording);
    const service = connect(port, '127.0.0.1');
    this.#pipe(tab, service, (bytes) => {
      recording.sent.push(bytes);
      return bytes;
    });
    this.#pipe(service, tab, (bytes) => {
      const changed = this.tamper?.(bytes, Buffer.concat(recording.sent)) ?? bytes;
      if (changed === 'cut') return undefined;
      recording.received.push(changed);
      return changed;
    });
  }

  #pipe(from: Socket, to: Socket, through: (bytes: Buffer) => Buffer | undefined): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on('data', (bytes) => {
      const passed = through(bytes);
      if (!passed) return void [from, to].forEach((socket) => socket.destroy());
      if (!to.write(passed)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('end', () => to.end());
    // The other side learns of a broken connection as it would without the proxy.
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroySoon();
    });
  }
}
