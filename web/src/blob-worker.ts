// Workers that follow the page's Content-Security-Policy.

/**
 * Starts a worker from a `blob:` URL that imports its real script. A worker loaded from the
 * network would follow the Content-Security-Policy of its own response, which a static host
 * does not send; one from a blob inherits that of who starts it. The import is a dynamic one, which
 * counts as a script: a static one counts as a worker, and `worker-src` allows no network at all.
 * Messages that arrive before the script does are kept for it.
 */
export function startWorker(script: URL, name: string): Worker {
  const loader = `
    const early = [];
    self.onmessage = (message) => early.push(message);
    import(${JSON.stringify(script.href)}).then(() => early.forEach((message) => self.onmessage(message)), self.reportError);`;
  const blob = URL.createObjectURL(new Blob([loader], { type: 'text/javascript' }));
  return new Worker(blob, { type: 'module', name });
}
