// Header fields that a tab may send, each with what it may say.

import type { Request } from '../capture/http';

/** Those that depend on the run. */
export interface Origins {
  /** `host:port` of the server that is spoken to. */
  readonly host: string;
  /** Of the page. */
  readonly origin: string;
  /** API key, if the service has one. */
  readonly key: string | undefined;
}

const words = (...names: string[]): RegExp => new RegExp(`^(${names.join('|')})$`);
const literal = (text: string): RegExp => new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);

/** Chromium writes these alone; their values are the same in every request of a browser. */
const CLIENT_HINT = /^[\w ";,.?=/()+:-]{1,200}$/;

/** What is constant. `idempotency-key` is checked with the body. */
const FIXED: Readonly<Record<string, RegExp>> = {
  accept: words('\\*/\\*', 'application/json', 'text/event-stream', 'text/html,[\\w/+;,=.* -]+', 'image/[\\w/+;,=.* -]+', 'text/css,\\*/\\*;q=0\\.1'),
  'accept-encoding': words('identity', 'gzip', 'gzip, deflate', 'gzip, deflate, br', 'gzip, deflate, br, zstd'),
  'accept-language': /^[a-z]{2}(-[A-Z]{2})?(,[a-z]{2}(-[A-Z]{2})?;q=0\.\d)*$/,
  'access-control-request-headers': /^(authorization|content-type|idempotency-key|range)(,(authorization|content-type|idempotency-key|range))*$/,
  'access-control-request-method': words('GET', 'POST', 'DELETE'),
  'cache-control': words('no-cache', 'max-age=0'),
  connection: words('keep-alive', 'Upgrade'),
  'content-length': /^\d{1,9}$/,
  'content-type': words('application/json'),
  'idempotency-key': /^[0-9a-f]{32}$/,
  'if-none-match': /^"[0-9a-f]{64}"$/,
  pragma: words('no-cache'),
  priority: /^u=\d(, i)?$/,
  range: /^bytes=\d+-$/,
  'sec-ch-ua': CLIENT_HINT,
  'sec-ch-ua-mobile': words('\\?0'),
  'sec-ch-ua-platform': CLIENT_HINT,
  'sec-fetch-dest': words('empty', 'document', 'script', 'worker', 'style', 'image', 'websocket'),
  'sec-fetch-mode': words('cors', 'no-cors', 'navigate', 'same-origin', 'websocket'),
  'sec-fetch-site': words('same-origin', 'same-site', 'cross-site', 'none'),
  'sec-fetch-storage-access': words('none', 'inactive', 'active'),
  'sec-fetch-user': words('\\?1'),
  'upgrade-insecure-requests': words('1'),
  'user-agent': /^Mozilla\/5\.0 \(X11; Linux [\w]+\) AppleWebKit\/[\d.]+ \(KHTML, like Gecko\) (Headless)?Chrome\/[\d.]+ Safari\/[\d.]+$/,
};

/** Sentences on fields that do not belong. */
export function headerViolations(request: Request, { host, origin, key }: Origins): string[] {
  const allowed: Readonly<Record<string, RegExp>> = {
    ...FIXED,
    host: literal(host),
    origin: literal(origin),
    referer: new RegExp(`^${origin.replaceAll('.', '\\.')}/[\\w./?=:%&-]*$`),
    ...(key === undefined ? {} : { authorization: literal(`Bearer ${key}`) }),
  };
  return request.headers
    .filter(([name, value]) => !(Object.hasOwn(allowed, name) && allowed[name]?.test(value)))
    .map(([name, value]) => `the header ${name}: ${value} is not on the list`);
}
