// Which servers this tab may talk to: its own and the one service that the user named.
//
// A policy in the page can only be tightened, so it is written before the first connection and
// another service needs a new page load (see `service.ts`). Workers that are loaded from the
// network follow their own response's headers; workers from `blob:` URLs inherit this policy.

/** A service address that the page can work with, without a trailing slash. */
export function parseService(text: string): URL {
  let url: URL;
  try {
    url = new URL(text.trim());
  } catch {
    throw new Error('This is not an address. It should look like https://models.example.org or http://localhost:8321.');
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new Error('The address of a service starts with https:// or http://.');
  }
  if (url.username || url.password) {
    throw new Error('Leave user names and passwords out of the address; the API key has its own field.');
  }
  url.hash = '';
  url.search = '';
  url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}

/** The address as the worker wants it. */
export const serviceAddress = (url: URL): string => url.href.replace(/\/+$/, '');

/** The policy that lets the tab connect to its own origin and to `service`. */
export function connectionPolicy(service: URL | undefined): string {
  if (!service) return "connect-src 'self'";
  const socket = service.protocol === 'https:' ? 'wss:' : 'ws:';
  return `connect-src 'self' ${service.origin} ${socket}//${service.host}`;
}

/** Puts the policy in force, for this page and for the workers that it starts from `blob:` URLs. */
export function enforce(policy: string): void {
  const meta = document.createElement('meta');
  meta.httpEquiv = 'Content-Security-Policy';
  meta.content = policy;
  document.head.append(meta);
}
