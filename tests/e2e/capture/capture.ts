// A recording, understood: every request and every message of a stream, and every byte of them.

import { CaptureError } from './cursor';
import { type Request, type Response, header, parseRequests, parseResponses } from './http';
import type { Recording } from './proxy';
import { type Message, parseMessages } from './websocket';

/** A request, its answer if one came, and the tab's messages if it became a WebSocket. */
export interface Exchange {
  readonly request: Request;
  readonly response: Response | undefined;
  readonly messages: readonly Message[];
  /** Bytes of the service's messages. */
  readonly messageBytesReceived: number;
}

/** Some bytes that left the tab, in a form that can be searched. */
export interface Sent {
  readonly where: string;
  readonly bytes: Buffer;
}

export interface Capture {
  readonly exchanges: readonly Exchange[];
  /** Everything that left, as it was on the wire, and decoded. */
  readonly sent: readonly Sent[];
  /** What could not be understood. A capture with problems proves nothing. */
  readonly problems: readonly string[];
}

/** Interprets recorded connections. */
export function understand(recordings: readonly Recording[], name: string): Capture {
  const exchanges: Exchange[] = [];
  const sent: Sent[] = [];
  const problems: string[] = [];
  recordings.forEach((recording, number) => {
    const where = `${name}, connection ${number}`;
    const raw = Buffer.concat(recording.sent);
    sent.push({ where: `${where}, raw`, bytes: raw });
    try {
      const found = understandOne(raw, Buffer.concat(recording.received));
      exchanges.push(...found);
      sent.push(...found.flatMap((exchange) => decoded(exchange, where)));
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      problems.push(`${where}: ${error.message}`);
    }
  });
  // Something could be cut into pieces and sent bit by bit.
  const pieces = exchanges.flatMap(({ request, messages }) => [request.body, ...messages.map((message) => message.payload)]);
  sent.push({ where: `${name}, all bodies and messages together`, bytes: Buffer.concat(pieces) });
  return { exchanges, sent, problems };
}

function understandOne(raw: Buffer, received: Buffer): Exchange[] {
  const requests = parseRequests(raw);
  const responses = parseResponses(received, requests.messages);
  return requests.messages.map((request, i) => {
    const response = responses.messages[i];
    const last = i === requests.messages.length - 1;
    if (!last || requests.upgraded === undefined) return { request, response, messages: [], messageBytesReceived: 0 };
    if (response?.status !== 101 || responses.upgraded === undefined) {
      if (requests.upgraded.length > 0) throw new CaptureError('bytes follow an upgrade that was not granted');
      return { request, response, messages: [], messageBytesReceived: 0 };
    }
    const extensions = header(response.headers, 'sec-websocket-extensions') ?? '';
    const messages = parseMessages(requests.upgraded, { masked: true, extensions });
    const answers = parseMessages(responses.upgraded, { masked: false, extensions, mayBeCut: true });
    const bytes = answers.reduce((sum, { payload }) => sum + payload.length, 0);
    return { request, response, messages, messageBytesReceived: bytes };
  });
}

function decoded({ request, messages }: Exchange, where: string): Sent[] {
  const { method, target, headers } = request;
  const place = `${where}, ${method} ${target}`;
  return [
    { where: `${place}, target and headers`, bytes: Buffer.from([target, ...headers.flat()].join('\n'), 'latin1') },
    { where: `${place}, body`, bytes: request.body },
    ...messages.map(({ kind, payload }, i) => ({ where: `${place}, ${kind} message ${i}`, bytes: payload })),
  ].filter(({ bytes }) => bytes.length > 0);
}
