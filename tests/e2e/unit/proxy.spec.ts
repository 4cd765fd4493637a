import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { expect, test } from '@playwright/test';

import { understand } from '../capture/capture';
import { RecordingProxy } from '../capture/proxy';
import { MASK, crlf, frame, ok, recording } from './support';

test('the proxy passes everything on and keeps it', async () => {
  const server = createServer((request, response) => request.pipe(response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await RecordingProxy.before(() => (server.address() as AddressInfo).port);
  const body = 'y'.repeat(300_000);
  const answer = await fetch(`${proxy.url}/echo`, { method: 'POST', body });
  expect(await answer.text()).toBe(body);
  const capture = understand(proxy.recordings, 'service');
  expect(capture.problems).toEqual([]);
  expect(capture.exchanges.map(({ request }) => `${request.method} ${request.target} ${request.body.length}`)).toEqual(['POST /echo 300000']);
  expect(capture.exchanges[0]?.response?.bodyBytes).toBe(300_000);
  await proxy.close();
  server.close();
});

test('tampering changes what arrives', async () => {
  const server = createServer((_, response) => response.end('abc')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await RecordingProxy.before(() => (server.address() as AddressInfo).port);
  proxy.tamper = (bytes, sent) => (sent.includes('GET /here') ? Buffer.from(bytes.toString('latin1').replace('abc', 'abX'), 'latin1') : bytes);
  expect(await (await fetch(`${proxy.url}/here`)).text()).toBe('abX');
  await proxy.close();
  server.close();
});

test('a stream is understood from its upgrade on', () => {
  const sent = crlf('GET /v1/generate HTTP/1.1', 'Upgrade: websocket', 'Connection: Upgrade');
  const upgraded = Buffer.concat([Buffer.from(sent), frame({ opcode: 1, payload: Buffer.from('{"type":"token"}'), mask: MASK })]);
  const received = Buffer.concat([Buffer.from(crlf('HTTP/1.1 101 Switching Protocols', 'upgrade: websocket')), frame({ opcode: 2, payload: Buffer.alloc(9) })]);
  const { exchanges, sent: all, problems } = understand([recording(upgraded, received)], 'service');
  expect(problems).toEqual([]);
  expect(exchanges[0]?.messages.map(({ payload }) => payload.toString())).toEqual(['{"type":"token"}']);
  expect(exchanges[0]?.messageBytesReceived).toBe(9);
  expect(all.some(({ bytes }) => bytes.toString() === '{"type":"token"}')).toBe(true);
});

test('what cannot be understood is a problem, and its bytes are still searched', () => {
  const { problems, sent } = understand([recording('\x16\x03\x01 secret', '')], 'service');
  expect(problems).toHaveLength(1);
  expect(sent.some(({ bytes }) => bytes.includes('secret'))).toBe(true);
});

test('an unused connection is no problem', () => {
  expect(understand([recording('', '')], 'service').problems).toEqual([]);
});

test('what is sent in pieces is searched as a whole', () => {
  const post = (body: string): string => crlf('POST /x HTTP/1.1', `Content-Length: ${body.length}`) + body;
  const { sent } = understand([recording(post('sec') + post('ret'), ok('') + ok(''))], 'service');
  expect(sent.some(({ bytes }) => bytes.toString() === 'secret')).toBe(true);
});
