// The service that this page load is bound to, and the hand-over to the next page load.

import { connectionPolicy, enforce, parseService, serviceAddress } from './policy';
import type { HeadForm } from './protocol';

/** Where a page served without `?service=` offers to connect. */
export const DEFAULT_SERVICE = 'http://localhost:8321';

const BOUND = 'pema.service';
const HANDOVER = 'pema.handover';

interface Handover {
  readonly url: string;
  readonly key: string | undefined;
  readonly head: HeadForm;
}

/** What the page may talk to. */
export interface Binding {
  /** Offered in the form. */
  readonly suggested: string;
  /** A connection that the user asked for before the page was loaded again. */
  readonly pending: Handover | undefined;
  /** Whether the policy in force lets the page reach this service. */
  reaches(service: URL): boolean;
}

function valid(text: string | null): URL | undefined {
  if (!text) return undefined;
  try {
    return parseService(text);
  } catch {
    return undefined;
  }
}

/** Reads the service from the address bar or the session, and binds the page to it. */
export function bind(): Binding {
  const fromAddress = valid(new URLSearchParams(location.search).get('service'));
  const service = fromAddress ?? valid(sessionStorage.getItem(BOUND));
  enforce(connectionPolicy(service));

  const stored = sessionStorage.getItem(HANDOVER);
  sessionStorage.removeItem(HANDOVER);
  return {
    suggested: service ? serviceAddress(service) : DEFAULT_SERVICE,
    pending: stored ? (JSON.parse(stored) as Handover) : undefined,
    reaches: (other) => other.origin === service?.origin || other.origin === location.origin,
  };
}

/** Loads the page again, bound to another service, and connects there. The key waits in the session for that moment alone. */
export function rebind(service: URL, key: string | undefined, head: HeadForm): void {
  const url = serviceAddress(service);
  sessionStorage.setItem(BOUND, url);
  sessionStorage.setItem(HANDOVER, JSON.stringify({ url, key, head } satisfies Handover));
  const page = new URL(location.href);
  page.searchParams.delete('service');
  if (page.href === location.href) location.reload();
  else location.replace(page);
}

/** The next page load is bound to no service. */
export const forgetService = (): void => sessionStorage.removeItem(BOUND);
