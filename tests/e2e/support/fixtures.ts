// What the tests are given: a site, a service, and tabs of a real browser.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type BrowserContext, chromium, test as base } from '@playwright/test';

import { type Device, PemaPage } from '../page';
import { launchOptions } from './browser';
import { LEAKY_SITE, SITE } from './environment';
import { Service, ServiceProcess } from './service';
import { Site } from './site';

export interface TabOptions {
  /** Whether the browser has WebGPU. */
  readonly webgpu?: boolean;
  /** What the page is to train on. */
  readonly device?: Device;
  readonly site?: Site;
}

interface Fixtures {
  /** The shared service at an address of this test's own. */
  readonly service: Service;
  /** A folder for this test's files. */
  readonly folder: string;
  /** Opens the page in a new browser with a profile of its own, as storage must outlive a reload. */
  readonly openTab: (service: Service, options?: TabOptions) => Promise<PemaPage>;
}

interface Servers {
  readonly site: Site;
  readonly leakySite: Site;
  /** Shared by all tests, as starting it takes a while. */
  readonly serviceProcess: ServiceProcess;
}

function temporary(name: string): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), `pema-${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }) };
}

export const test = base.extend<Fixtures, Servers>({
  site: [
    async ({}, use) => {
      const site = await Site.serve(SITE);
      await use(site);
      await site.close();
    },
    { scope: 'worker' },
  ],
  leakySite: [
    async ({}, use) => {
      const site = await Site.serve(LEAKY_SITE);
      await use(site);
      await site.close();
    },
    { scope: 'worker' },
  ],
  serviceProcess: [
    async ({ site, leakySite }, use) => {
      const process = await ServiceProcess.start({ origins: [site.origin, leakySite.origin] });
      await use(process);
      await process.close();
    },
    { scope: 'worker', timeout: 180_000 },
  ],
  service: [
    async ({ serviceProcess }, use) => {
      // A test may have ended it.
      await serviceProcess.start();
      const service = await Service.before(serviceProcess);
      await use(service);
      await service.proxy.close();
    },
    { timeout: 180_000 },
  ],
  folder: async ({}, use) => {
    const folder = temporary('files');
    await use(folder.path);
    folder.remove();
  },
  openTab: async ({ site }, use, info) => {
    const opened: { context: BrowserContext; remove(): void }[] = [];
    const log: string[] = [];
    await use(async (service, { webgpu = true, device = 'cpu', site: other = site } = {}) => {
      const profile = temporary('profile');
      const context = await chromium.launchPersistentContext(profile.path, launchOptions({ webgpu }));
      opened.push({ context, remove: profile.remove });
      context.on('console', (message) => log.push(`${message.type()}: ${message.text()}`));
      context.on('weberror', (error) => log.push(`error: ${String(error.error())}`));
      const pema = new PemaPage(context.pages()[0] ?? (await context.newPage()));
      await pema.open(other.origin, { device, service: service.url });
      return pema;
    });
    const failed = info.status !== info.expectedStatus;
    for (const [i, { context, remove }] of opened.entries()) {
      const page = context.pages()[0];
      if (failed && page) await info.attach(`tab ${i}`, { body: await page.screenshot({ fullPage: true }), contentType: 'image/png' });
      await context.close();
      remove();
    }
    if (failed && log.length > 0) await info.attach('console', { body: log.join('\n'), contentType: 'text/plain' });
  },
});

export { expect } from '@playwright/test';
