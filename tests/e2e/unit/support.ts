// Bytes as a browser or a server would write them.

import { deflateRawSync } from 'node:zlib';

import type { Recording } from '../capture/proxy';

export interface FrameOptions {
  readonly opcode: number;
  readonly payload: Buffer;
  readonly last?: boolean;
  readonly compressed?: boolean;
  readonly mask?: Buffer;
}

/** One WebSocket frame; masked when `mask` is given. */
export function frame({ opcode, payload, last = true, compressed = false, mask }: FrameOptions): Buffer {
  const first = (last ? 0x80 : 0) | (compressed ? 0x40 : 0) | opcode;
  const masked = mask ? 0x80 : 0;
  const body = Buffer.from(payload.map((byte, i) => byte ^ (mask?.[i % 4] ?? 0)));
  const { length } = payload;
  if (length < 126) return Buffer.concat([Buffer.from([first, masked | length]), mask ?? Buffer.alloc(0), body]);
  const long = length < 65536 ? Buffer.alloc(4) : Buffer.alloc(10);
  long[0] = first;
  long[1] = masked | (length < 65536 ? 126 : 127);
  if (length < 65536) long.writeUInt16BE(length, 2);
  else long.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([long, mask ?? Buffer.alloc(0), body]);
}

/** A message's bytes for permessage-deflate. */
export function deflated(text: string, dictionary?: Buffer): Buffer {
  const whole = deflateRawSync(text, { finishFlush: 2 /* Z_SYNC_FLUSH */, ...(dictionary ? { dictionary } : {}) });
  return whole.subarray(0, -4);
}

export const MASK = Buffer.from([0xde, 0xad, 0xbe, 0xef]);

export const crlf = (...lines: string[]): string => `${lines.join('\r\n')}\r\n\r\n`;

export const ok = (body: string): string => crlf('HTTP/1.1 200 OK', `content-length: ${body.length}`) + body;

/** A connection, cut into pieces of `size` bytes as TCP may. */
export function recording(sent: string | Buffer, received: string | Buffer, size = 7): Recording {
  const pieces = (bytes: Buffer): Buffer[] =>
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
  return { sent: pieces(Buffer.from(sent)), received: pieces(Buffer.from(received)) };
}
