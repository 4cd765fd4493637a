// Routes messages between the page and the wasm session, and does nothing else.

import init, { Session } from './pkg/pema_web';
import type { Command, WorkerEvent } from './protocol';
import { sliceCount, startSlices } from './slices';

const post = (event: WorkerEvent): void => self.postMessage(event);

const session: Promise<Session | undefined> = init().then(
  () => new Session(post, sliceCount(), startSlices),
  (error: unknown) => {
    const message = 'The worker could not load its WebAssembly module. Reload the page; if that does not help, use a current browser.';
    post({ type: 'failed', during: 'open', failure: { kind: 'wasm-refused', message, details: [String(error)] } });
    post({ type: 'idle' });
    return undefined;
  },
);

// Awaiting one promise keeps the commands in order, those sent while wasm still loads too.
self.onmessage = async (message: MessageEvent<Command>) => (await session)?.handle(message.data);

// A panic in a future ends as an unhandled rejection, which the page would never hear of.
self.addEventListener('unhandledrejection', (event) => self.reportError(event.reason));
