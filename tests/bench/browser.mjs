// Training steps of Pema and of TensorFlow.js in one Chromium.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';

import { chromium } from 'playwright-core';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };
const ARGS = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--disable-background-networking'];

/** Serves the built page, and TensorFlow.js's own wasm as `/tf`. */
async function serve(site) {
  const tf = join(import.meta.dirname, 'node_modules/@tensorflow');
  const server = createServer(async (request, response) => {
    const wanted = normalize(new URL(request.url, 'http://x').pathname);
    const path = wanted.startsWith('/tf/') ? join(tf, wanted.slice(4)) : join(site, wanted);
    try {
      response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream');
      response.end(await readFile(path));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** A page that takes steps; each gives the seconds it took. */
export async function openBrowser({ executable, site }) {
  const server = await serve(site);
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  // A real adapter where there is one: BENCH_GPU=1 leaves the choice to Chromium.
  const args = process.env.BENCH_GPU ? ['--enable-unsafe-webgpu'] : ARGS;
  const browser = await chromium.launch({ executablePath: executable, args: [...args, ...sandbox] });
  const open = async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    page.on('pageerror', (error) => console.error(`in the page: ${error.message}`));
    await page.goto(`http://127.0.0.1:${server.address().port}/page.html`);
    await page.waitForFunction(() => globalThis.ready);
    return page;
  };
  const page = await open();
  let steps = 0;
  const step = (make) => {
    const name = `step${steps++}`;
    let made;
    return async () => {
      made ??= make(name);
      await made;
      return page.evaluate((name) => globalThis.take(name), name);
    };
  };
  return {
    isSoftware: () => page.evaluate(() => globalThis.isSoftware()),
    pema: (options) => step((name) => page.evaluate(([name, options]) => globalThis.makePema(name, options), [name, options])),
    tf: (backend, shape) => step((name) => page.evaluate(([name, backend, shape]) => globalThis.makeTf(name, backend, shape), [name, backend, shape])),
    // On a page of its own, so that the pools hold nothing else.
    bytesOfAStep: async (shape) => {
      const fresh = await open();
      return fresh.evaluate((shape) => globalThis.bytesOfAStep(shape), shape);
    },
    close: async () => {
      await browser.close();
      server.close();
    },
  };
}
