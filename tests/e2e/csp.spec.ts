// The browser itself keeps the tab from talking to anyone but its own server and the one service.

import { createServer, type Server } from 'node:http';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { expect, test, type Page, type Worker } from '@playwright/test';
import { PemaPage } from './page';

const DIST = join(import.meta.dirname, '../../web/dist');
const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
};

interface Host {
  readonly origin: string;
  readonly requests: string[];
  close(): Promise<void>;
}

async function listen(answer: (path: string) => Promise<{ type: string; body: Buffer | string } | undefined>): Promise<Host> {
  const requests: string[] = [];
  const server: Server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://host').pathname;
    requests.push(path);
    void answer(path).then((found) => {
      // Every origin may read: only the page's own policy stands in the way.
      response.writeHead(found ? 200 : 404, { 'access-control-allow-origin': '*', 'content-type': found?.type ?? 'text/plain' });
      response.end(found?.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    requests,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** A static host as plain as they come: no policy in its headers. */
const site = (): Promise<Host> =>
  listen(async (path) => {
    const name = normalize(path === '/' ? '/index.html' : path);
    const body = await readFile(join(DIST, name)).catch(() => undefined);
    return body && { type: TYPES[extname(name)] ?? 'application/octet-stream', body };
  });

const other = (): Promise<Host> => listen(async () => ({ type: 'text/plain', body: 'hello' }));

/** `reached`, or what the browser says. */
const tryFetch = (url: string): Promise<string> =>
  fetch(url).then(
    () => 'reached',
    (error: unknown) => String(error),
  );

const fetchIn =
  (context: Page | Worker) =>
  (url: string): Promise<string> =>
    'workers' in context ? context.evaluate(tryFetch, url) : context.evaluate(tryFetch, url);

const trySocket = (url: string): Promise<string> =>
  new Promise((resolve) => {
    try {
      const socket = new WebSocket(url);
      socket.onopen = () => resolve('reached');
      socket.onerror = () => resolve('refused');
    } catch (error) {
      resolve(String(error));
    }
  });

async function workerOf(page: Page): Promise<Worker> {
  return page.workers()[0] ?? page.waitForEvent('worker');
}

test.describe('Content-Security-Policy', () => {
  let own: Host;
  let service: Host;
  let stranger: Host;

  test.beforeAll(async () => {
    [own, service, stranger] = await Promise.all([site(), other(), other()]);
  });
  test.afterAll(async () => {
    await Promise.all([own.close(), service.close(), stranger.close()]);
  });
  test.beforeEach(() => {
    for (const host of [own, service, stranger]) host.requests.length = 0;
  });

  test('a page without a service reaches its own origin alone, from page and worker', async ({ page }) => {
    await new PemaPage(page).open(own.origin, { device: 'cpu' });
    const worker = await workerOf(page);
    for (const fetchFrom of [fetchIn(page), fetchIn(worker)]) {
      expect(await fetchFrom(`${own.origin}/samples/formality.json`)).toBe('reached');
      expect(await fetchFrom(`${stranger.origin}/leak`)).toContain('TypeError');
      expect(await fetchFrom(`${service.origin}/leak`)).toContain('TypeError');
    }
    expect([...stranger.requests, ...service.requests]).toEqual([]);
  });

  test('a page bound to a service reaches that service and no other, from page and worker', async ({ page }) => {
    await new PemaPage(page).open(own.origin, { device: 'cpu', service: service.origin });
    const worker = await workerOf(page);
    for (const fetchFrom of [fetchIn(page), fetchIn(worker)]) {
      expect(await fetchFrom(`${service.origin}/v1/hello`)).toBe('reached');
      expect(await fetchFrom(`${stranger.origin}/leak`)).toContain('TypeError');
    }
    const socket = stranger.origin.replace('http', 'ws');
    expect(await page.evaluate(trySocket, socket)).not.toBe('reached');
    expect(await worker.evaluate(trySocket, socket)).not.toBe('reached');
    expect(service.requests).toEqual(['/v1/hello', '/v1/hello']);
    expect(stranger.requests).toEqual([]);
  });

  test('a policy in force cannot be widened by script', async ({ page }) => {
    await new PemaPage(page).open(own.origin, { device: 'cpu', service: service.origin });
    const answer = await page.evaluate((origin) => {
      const meta = document.createElement('meta');
      meta.httpEquiv = 'Content-Security-Policy';
      meta.content = `connect-src ${origin}`;
      document.head.append(meta);
      return fetch(`${origin}/leak`).then(() => 'reached', String);
    }, stranger.origin);
    expect(answer).toContain('TypeError');
    expect(stranger.requests).toEqual([]);
  });

  test('connecting elsewhere loads the page again, bound to the new service, and keeps no key', async ({ page }) => {
    const pema = new PemaPage(page);
    await pema.open(own.origin, { device: 'cpu', service: stranger.origin });
    // Not a Pema service: the connection fails, but it was tried, where the user said.
    await expect(pema.connect(service.origin, 'secret-key')).rejects.toThrow();
    expect(service.requests.length).toBeGreaterThan(0);
    expect(stranger.requests).toEqual([]);
    expect(await (await workerOf(page)).evaluate(tryFetch, `${stranger.origin}/leak`)).toContain('TypeError');
    expect(await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }))).not.toContain('secret-key');
    expect(page.url()).not.toContain('secret-key');
  });

  test('a worker cannot be started from the network, where it would follow no policy', async ({ page }) => {
    await new PemaPage(page).open(own.origin, { device: 'cpu', service: service.origin });
    const script = own.requests.find((path) => path.includes('worker')) ?? '/none';
    const answer = await page.evaluate(
      (url) =>
        new Promise<string>((resolve) => {
          try {
            const worker = new Worker(url, { type: 'module' });
            worker.onerror = () => resolve('refused');
            worker.onmessage = () => resolve('started');
            worker.postMessage({ type: 'open', device: 'cpu' });
          } catch (error) {
            resolve(String(error));
          }
        }),
      script,
    );
    expect(answer).not.toBe('started');
  });

  test('neither images, forms, frames nor inline scripts get out', async ({ page }) => {
    await new PemaPage(page).open(own.origin, { device: 'cpu', service: service.origin });
    await page.evaluate((origin) => {
      const image = new Image();
      image.src = `${origin}/image`;
      const frame = document.createElement('iframe');
      frame.src = `${origin}/frame`;
      const form = document.createElement('form');
      form.action = `${origin}/form`;
      const script = document.createElement('script');
      script.textContent = "document.title = 'inline'";
      document.body.append(image, frame, form, script);
      form.submit();
      navigator.sendBeacon(`${origin}/beacon`, 'x');
    }, stranger.origin);
    await page.waitForTimeout(500);
    expect(stranger.requests).toEqual([]);
    expect(await page.title()).not.toBe('inline');
  });
});
