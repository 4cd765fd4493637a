import { defineConfig } from '@playwright/test';

import { launchOptions } from './support/browser';

const MINUTE = 60_000;

export default defineConfig({
  outputDir: 'results',
  reporter: [['list']],
  // Each with a service of its own; a tab and its service take turns.
  workers: 2,
  forbidOnly: Boolean(process.env['CI']),
  timeout: 6 * MINUTE,
  expect: { timeout: 10_000 },
  use: { launchOptions: launchOptions() },
  projects: [
    { name: 'unit', testDir: 'unit', timeout: MINUTE },
    { name: 'e2e', testDir: '.', testIgnore: ['unit/**', 'demo.spec.ts'] },
    { name: 'demo', testDir: '.', testMatch: 'demo.spec.ts', timeout: 20 * MINUTE },
  ],
});
