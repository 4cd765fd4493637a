// The browser under test.

import { accessSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import type { LaunchOptions } from '@playwright/test';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];

/** Switches of headless Chromium that matter here. */
const ARGS = [
  // It can resolve nothing but this machine: what it must not reach, it cannot.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
  '--disable-background-networking',
  '--disable-component-update',
  '--no-first-run',
];

/** WebGPU in software: slow, but there on every machine. */
const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
const NO_WEBGPU = ['--disable-features=WebGPU', '--disable-gpu'];

/** How to start it. */
export function launchOptions({ webgpu = true }: { webgpu?: boolean } = {}): LaunchOptions {
  // Chromium's sandbox does not work for root, which CI's containers run as.
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return { executablePath: executable(), args: [...ARGS, ...sandbox, ...(webgpu ? WEBGPU : NO_WEBGPU)] };
}

/** `$CHROME`, else what is on the path: no browser is ever downloaded. */
function executable(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const candidates = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  const found = process.env['CHROME'] ?? candidates.find(exists);
  if (!found) throw new Error('No Chromium found: install it, or set CHROME to its path.');
  return found;
}

function exists(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}
