import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';

import { expect, test } from '@playwright/test';

import { parseRequests, parseResponses } from '../capture/http';
import { crlf, ok } from './support';

const get = (path: string): string => crlf(`GET ${path} HTTP/1.1`, 'Host: a');

test('pipelined requests on one connection are told apart', () => {
  const sent = get('/v1/model') + crlf('POST /v1/memories HTTP/1.1', 'Content-Length: 5') + 'abcde' + get('/healthz');
  const { messages, upgraded } = parseRequests(Buffer.from(sent));
  expect(messages.map(({ method, target, body }) => [method, target, body.toString()])).toEqual([
    ['GET', '/v1/model', ''],
    ['POST', '/v1/memories', 'abcde'],
    ['GET', '/healthz', ''],
  ]);
  expect(upgraded).toBeUndefined();
});

test('chunked bodies are put together', () => {
  const sent = crlf('POST /x HTTP/1.1', 'Transfer-Encoding: chunked') + '3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n' + get('/next');
  expect(parseRequests(Buffer.from(sent)).messages.map(({ body }) => body.toString())).toEqual(['abc0123456789', '']);
});

for (const [encoding, compress] of [['gzip', gzipSync], ['deflate', deflateSync], ['br', brotliCompressSync]] as const) {
  test(`a body in ${encoding} is decompressed`, () => {
    const body = compress('secret '.repeat(9));
    const head = crlf('POST /x HTTP/1.1', `Content-Encoding: ${encoding}`, `Content-Length: ${body.length}`);
    const { messages } = parseRequests(Buffer.concat([Buffer.from(head), body]));
    expect(messages[0]?.body.toString()).toBe('secret '.repeat(9));
  });
}

const BAD: readonly (readonly [what: string, sent: string])[] = [
  ['a request line of another protocol', 'PRI * HTTP/2.0\r\n\r\n'],
  ['bytes that are no request', '\x16\x03\x01 tls\r\n\r\n'],
  ['a body cut short', `${crlf('POST /x HTTP/1.1', 'Content-Length: 9')}abc`],
  ['a header without a colon', crlf('GET / HTTP/1.1', 'nonsense')],
  ['a header with a folded line', crlf('GET / HTTP/1.1', 'a: b', ' c')],
  ['both a length and chunks', crlf('POST /x HTTP/1.1', 'Content-Length: 3', 'Transfer-Encoding: chunked')],
  ['a chunk extension', `${crlf('POST /x HTTP/1.1', 'Transfer-Encoding: chunked')}3;secret\r\nabc\r\n0\r\n\r\n`],
  ['trailers after the chunks', `${crlf('POST /x HTTP/1.1', 'Transfer-Encoding: chunked')}0\r\nsecret: x\r\n\r\n`],
  ['an unknown compression', `${crlf('POST /x HTTP/1.1', 'Content-Encoding: zstd', 'Content-Length: 1')}a`],
];
for (const [what, sent] of BAD) {
  test(`${what} is an error`, () => {
    expect(() => parseRequests(Buffer.from(sent, 'latin1'))).toThrow(/./);
  });
}

test('answers follow their requests: empty ones, interim ones, one until the connection ends', () => {
  const { messages: requests } = parseRequests(Buffer.from(get('/a') + get('/b') + get('/c') + get('/d')));
  const received =
    crlf('HTTP/1.1 204 No Content') + ok('b') + crlf('HTTP/1.1 100 Continue') + ok('cc') + crlf('HTTP/1.1 200 OK') + 'until the end';
  const { messages } = parseResponses(Buffer.from(received), requests);
  expect(messages.map(({ status, body }) => [status, body.toString()])).toEqual([
    [204, ''],
    [200, 'b'],
    [200, 'cc'],
    [200, 'until the end'],
  ]);
});

test('the last answer may be cut short, and says so', () => {
  const { messages: requests } = parseRequests(Buffer.from(get('/a')));
  const [answer] = parseResponses(Buffer.from(`${crlf('HTTP/1.1 200 OK', 'content-length: 9')}abc`), requests).messages;
  expect(answer?.complete).toBe(false);
});

test('an answer without a request is an error', () => {
  expect(() => parseResponses(Buffer.from(ok('x')), [])).toThrow('without a request');
});
