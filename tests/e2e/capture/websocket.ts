// WebSocket messages (RFC 6455, RFC 7692) from recorded bytes. Strict, as `http.ts`.

import { constants, inflateRawSync } from 'node:zlib';

import { CaptureError, Cursor } from './cursor';

export interface Message {
  readonly kind: 'text' | 'binary' | 'close' | 'ping' | 'pong';
  readonly payload: Buffer;
}

/** What was agreed on when the connection was upgraded. */
export interface Agreement {
  /** Frames of the tab are masked, those of the service are not. */
  readonly masked: boolean;
  /** `Sec-WebSocket-Extensions` of the answer. */
  readonly extensions: string;
  /** A tab that is closed may leave a frame unfinished. */
  readonly mayBeCut?: boolean;
}

const KINDS: Readonly<Record<number, Message['kind']>> = { 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' };
const WINDOW = 32 * 1024;
/** Left out at the end of every compressed message. */
const SYNC_TAIL = Buffer.from([0, 0, 0xff, 0xff]);

interface Frame {
  readonly last: boolean;
  readonly compressed: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

/** All messages of one direction. */
export function parseMessages(bytes: Buffer, agreement: Agreement): Message[] {
  const cursor = new Cursor(bytes);
  const inflate = inflater(agreement);
  const messages: Message[] = [];
  let parts: Frame[] = [];
  while (!cursor.atEnd) {
    const frame = readFrame(cursor, agreement);
    if (!frame) break;
    if (frame.opcode >= 8) {
      if (!frame.last || frame.compressed) throw new CaptureError('a control frame is fragmented or compressed');
      messages.push({ kind: kindOf(frame.opcode), payload: frame.payload });
      continue;
    }
    if ((frame.opcode === 0) !== parts.length > 0) throw new CaptureError('a fragment is out of its message');
    if (frame.opcode === 0 && frame.compressed) throw new CaptureError('a later fragment says it is compressed');
    parts.push(frame);
    if (!frame.last) continue;
    const [first] = parts;
    const joined = Buffer.concat(parts.map((part) => part.payload));
    messages.push({ kind: kindOf(first?.opcode ?? 0), payload: first?.compressed ? inflate(joined) : joined });
    parts = [];
  }
  if (parts.length > 0 && !agreement.mayBeCut) throw new CaptureError('the last message has no end');
  return messages;
}

function kindOf(opcode: number): Message['kind'] {
  const kind = KINDS[opcode];
  if (!kind) throw new CaptureError(`unknown opcode ${opcode}`);
  return kind;
}

function readFrame(cursor: Cursor, { masked, extensions, mayBeCut }: Agreement): Frame | undefined {
  try {
    const [first, second] = [cursor.byte(), cursor.byte()];
    const compressed = (first & 0x40) !== 0;
    if ((first & 0x30) !== 0 || (compressed && !deflates(extensions))) throw new Error('a reserved bit is set');
    if ((second & 0x80) !== 0 !== masked) throw new Error(masked ? 'a frame of the tab is not masked' : 'a frame of the service is masked');
    const length = readLength(cursor, second & 0x7f);
    const mask = masked ? cursor.take(4) : Buffer.alloc(4);
    const payload = Buffer.from(cursor.take(length));
    payload.forEach((byte, i) => (payload[i] = byte ^ (mask[i % 4] ?? 0)));
    return { last: (first & 0x80) !== 0, compressed, opcode: first & 0x0f, payload };
  } catch (error) {
    if (!(error instanceof CaptureError)) throw new CaptureError(String(error));
    if (mayBeCut) return void cursor.rest();
    throw error;
  }
}

function readLength(cursor: Cursor, short: number): number {
  if (short === 126) return cursor.take(2).readUInt16BE();
  if (short === 127) return Number(cursor.take(8).readBigUInt64BE());
  return short;
}

const deflates = (extensions: string): boolean => /\bpermessage-deflate\b/.test(extensions);

/** Decompresses one message after another; each may refer to what came before. */
function inflater({ masked, extensions }: Agreement): (message: Buffer) => Buffer {
  const keeps = !extensions.includes(masked ? 'client_no_context_takeover' : 'server_no_context_takeover');
  let window = Buffer.alloc(0);
  return (message) => {
    const dictionary = window.length > 0 ? { dictionary: window } : {};
    try {
      const inflated = inflateRawSync(Buffer.concat([message, SYNC_TAIL]), { finishFlush: constants.Z_SYNC_FLUSH, ...dictionary });
      if (keeps) window = Buffer.concat([window, inflated]).subarray(-WINDOW);
      return inflated;
    } catch (error) {
      throw new CaptureError(`a message does not decompress: ${String(error)}`);
    }
  };
}
