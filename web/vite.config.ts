import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import type { Plugin } from 'vite';

/** The dev server injects `<style>` elements, which the page's own policy forbids. */
const allowInlineStylesInDev: Plugin = {
  name: 'allow-inline-styles-in-dev',
  apply: 'serve',
  transformIndexHtml: (html) => html.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'"),
};

/** The wasm package: another one for the build with planted leaks, which only tests use. */
const wasmPackage = process.env['PEMA_PKG'];
const alias = wasmPackage ? [{ find: /^.*\/pkg\/pema_web$/, replacement: join(wasmPackage, 'pema_web.js') }] : [];

export default defineConfig({
  resolve: { alias },
  // Relative, so that the site can be hosted under any path of any static server.
  base: './',
  plugins: [allowInlineStylesInDev],
  worker: { format: 'es' },
  build: {
    target: ['chrome119', 'firefox121', 'safari17'],
    // `data:` URLs would need holes in the policy.
    assetsInlineLimit: 0,
    // Preloads are plain links from the page's own origin; modern browsers need no polyfill.
    modulePreload: { polyfill: false },
  },
  test: { include: ['src/**/*.test.ts'] },
});
