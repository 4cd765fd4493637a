// A static host for the page, as plain as they come.

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, relative, sep } from 'node:path';

import { RecordingProxy } from '../capture/proxy';

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

export class Site {
  readonly #server: Server;
  /** What the tab says to the page's own server is recorded too. */
  readonly proxy: RecordingProxy;
  /** Paths that it serves. */
  readonly files: ReadonlySet<string>;

  private constructor(server: Server, proxy: RecordingProxy, files: ReadonlySet<string>) {
    this.#server = server;
    this.proxy = proxy;
    this.files = files;
  }

  static async serve(folder: string): Promise<Site> {
    const files = new Set(filesIn(folder));
    if (!files.has('/index.html')) throw new Error(`${folder} has no site: cargo xtask build`);
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://site');
      const path = pathname === '/' ? '/index.html' : pathname;
      if (!files.has(path)) return void response.writeHead(404).end();
      void readFile(join(folder, path)).then((body) => {
        response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' }).end(body);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = await RecordingProxy.before(() => (server.address() as AddressInfo).port);
    return new Site(server, proxy, files);
  }

  get origin(): string {
    return this.proxy.url;
  }

  async close(): Promise<void> {
    await this.proxy.close();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => `/${relative(folder, join(entry.parentPath, entry.name)).replaceAll(sep, '/')}`);
}
