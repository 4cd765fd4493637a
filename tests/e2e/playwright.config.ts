import { defineConfig } from '@playwright/test';

const MINUTE = 60_000;

export default defineConfig({
  outputDir: 'results',
  reporter: [['list']],
  // One browser at a time: a training tab takes a whole core, and timings would lie.
  workers: 1,
  forbidOnly: Boolean(process.env['CI']),
  timeout: 5 * MINUTE,
  expect: { timeout: 10_000 },
  projects: [
    { name: 'unit', testDir: 'unit', timeout: MINUTE },
    { name: 'e2e', testDir: '.', X,
    { name: 'demo', testDir: '.', testMatch: /demo\.spec\.ts$/, timeout: 20 * MINUTE },
  ],
});
