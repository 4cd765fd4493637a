import { join } from 'node:path';
import { defineConfig } from 'vite';

// The build with training steps to measure, and where the page goes.
const { PEMA_BENCH_PKG, PEMA_BENCH_SITE } = process.env;

export default defineConfig({
  resolve: { alias: [{ find: /^.*\/pkg\/pema_web$/, replacement: join(PEMA_BENCH_PKG, 'pema_web.js') }] },
  base: './',
  worker: { format: 'es' },
  build: { target: 'esnext', outDir: PEMA_BENCH_SITE, emptyOutDir: true, assetsInlineLimit: 0, rollupOptions: { input: 'page.html' } },
});
