// HTTP/1.1 from recorded bytes. Strict: what is not understood is an error, for it could hide something.

import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';

import { CaptureError, Cursor } from './cursor';

/** Header fields in order; names in lower case. */
export type Headers = readonly (readonly [name: string, value: string])[];

export interface Request {
  readonly method: string;
  /** As sent: path, and query if any. */
  readonly target: string;
  readonly headers: Headers;
  /** Decompressed. */
  readonly body: Buffer;
}

export interface Response {
  readonly status: number;
  readonly headers: Headers;
  /** Decompressed; what there is of it when the connection ended early. */
  readonly body: Buffer;
  /** Bytes of the body as they came. */
  readonly bodyBytes: number;
  readonly complete: boolean;
}

/** One direction of a connection. */
export interface Stream<T> {
  readonly messages: readonly T[];
  /** What follows a switch of protocols. */
  readonly upgraded: Buffer | undefined;
}

export const header = (headers: Headers, name: string): string | undefined =>
  headers.find(([candidate]) => candidate === name)?.[1];

/** What the tab sent. Every message must be whole. */
export function parseRequests(bytes: Buffer): Stream<Request> {
  const cursor = new Cursor(bytes);
  const messages: Request[] = [];
  while (!cursor.atEnd) {
    const [method = '', target = '', version, ...more] = cursor.line().split(' ');
    if (!/^[A-Z]+$/.test(method) || !target.startsWith('/') || version !== 'HTTP/1.1' || more.length > 0) {
      throw new CaptureError(`not a request line: ${JSON.stringify([method, target, version, ...more])}`);
    }
    const headers = parseHeaders(cursor);
    messages.push({ method, target, headers, body: decompress(headers, parseBody(cursor, headers) ?? Buffer.alloc(0)) });
    if (header(headers, 'upgrade') !== undefined) return { messages, upgraded: cursor.rest() };
  }
  return { messages, upgraded: undefined };
}

/** What the tab received; the last answer may be cut short, for a tab may leave at any time. */
export function parseResponses(bytes: Buffer, requests: readonly Request[]): Stream<Response> {
  const cursor = new Cursor(bytes);
  const messages: Response[] = [];
  for (const request of requests) {
    if (cursor.atEnd) break;
    const response = parseResponse(cursor, request);
    messages.push(response);
    if (response.status === 101) return { messages, upgraded: cursor.rest() };
    if (!response.complete) break;
  }
  if (!cursor.atEnd) throw new CaptureError('an answer without a request');
  return { messages, upgraded: undefined };
}

function parseResponse(cursor: Cursor, request: Request): Response {
  const match = /^HTTP\/1\.1 (\d{3})( .*)?$/.exec(cursor.line());
  if (!match) throw new CaptureError('not a status line');
  const status = Number(match[1]);
  const headers = parseHeaders(cursor);
  if (status >= 100 && status < 200 && status !== 101) return parseResponse(cursor, request);
  const answer = { status, headers };
  const bodiless = request.method === 'HEAD' || status === 101 || status === 204 || status === 304;
  if (bodiless) return { ...answer, body: Buffer.alloc(0), bodyBytes: 0, complete: true };
  const whole = tolerantly(() => parseBody(cursor, headers) ?? cursor.rest());
  if (!whole) return { ...answer, body: Buffer.alloc(0), bodyBytes: cursor.rest().length, complete: false };
  return { ...answer, body: decompress(headers, whole), bodyBytes: whole.length, complete: true };
}

function tolerantly<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof CaptureError) return undefined;
    throw error;
  }
}

function parseHeaders(cursor: Cursor): Headers {
  const headers: [string, string][] = [];
  for (let line = cursor.line(); line !== ''; line = cursor.line()) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line);
    if (!match) throw new CaptureError(`not a header field: ${JSON.stringify(line)}`);
    headers.push([(match[1] ?? '').toLowerCase(), match[2] ?? '']);
  }
  return headers;
}

/** Nothing when the headers promise none. */
function parseBody(cursor: Cursor, headers: Headers): Buffer | undefined {
  const encoding = header(headers, 'transfer-encoding');
  const length = header(headers, 'content-length');
  if (encoding !== undefined && length !== undefined) throw new CaptureError('both a length and chunks');
  if (encoding !== undefined) {
    if (encoding.toLowerCase() !== 'chunked') throw new CaptureError(`unknown transfer encoding ${encoding}`);
    return parseChunks(cursor);
  }
  if (length === undefined) return undefined;
  if (!/^\d+$/.test(length)) throw new CaptureError(`not a length: ${length}`);
  return cursor.take(Number(length));
}

function parseChunks(cursor: Cursor): Buffer {
  const chunks: Buffer[] = [];
  for (;;) {
    const size = cursor.line();
    if (!/^[0-9A-Fa-f]+$/.test(size)) throw new CaptureError(`not a chunk's size: ${JSON.stringify(size)}`);
    const length = Number.parseInt(size, 16);
    const chunk = cursor.take(length);
    if (cursor.line() !== '') throw new CaptureError('a chunk does not end where it should, or there are trailers');
    if (length === 0) return Buffer.concat(chunks);
    chunks.push(chunk);
  }
}

function decompress(headers: Headers, body: Buffer): Buffer {
  const encoding = header(headers, 'content-encoding')?.toLowerCase() ?? 'identity';
  if (body.length === 0 || encoding === 'identity') return body;
  const decoders = { gzip: gunzipSync, deflate: inflateSync, br: brotliDecompressSync } as const;
  if (!(encoding in decoders)) throw new CaptureError(`unknown content encoding ${encoding}`);
  try {
    return decoders[encoding as keyof typeof decoders](body);
  } catch (error) {
    throw new CaptureError(`a body is not ${encoding}: ${String(error)}`);
  }
}
