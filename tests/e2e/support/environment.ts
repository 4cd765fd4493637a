// What `cargo xtask test` tells the tests, and where things are when they are run by hand.

import { join } from 'node:path';

const root = join(import.meta.dirname, '../../..');
const target = process.env['CARGO_TARGET_DIR'] ?? join(root, 'target');

/** The native binary. */
export const PEMA = process.env['PEMA_BIN'] ?? join(target, 'debug/pema');
/** The built site. */
export const SITE = process.env['PEMA_SITE'] ?? join(root, 'web/dist');
/** The site with planted leaks. */
export const LEAKY_SITE = process.env['PEMA_LEAKY_SITE'] ?? join(target, 'leaky/dist');
/** The sample data's sources. */
export const SAMPLES = join(root, 'web/public/samples');
