// Reading bytes from front to back.

/** Bytes that are not what the protocol promises. */
export class CaptureError extends Error {
  override name = 'CaptureError';
}

/** A place in some bytes; reading past the end is a `CaptureError`. */
export class Cursor {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  take(length: number): Buffer {
    const end = this.#offset + length;
    if (end > this.#bytes.length) {
      throw new CaptureError(`cut short: ${length} bytes wanted at ${this.#offset} of ${this.#bytes.length}`);
    }
    const taken = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return taken;
  }

  byte(): number {
    return this.take(1).readUInt8();
  }

  /** Up to the next CRLF, which is read and left out. */
  line(): string {
    const end = this.#bytes.indexOf('\r\n', this.#offset, 'latin1');
    if (end < 0) throw new CaptureError(`a line at ${this.#offset} has no end`);
    const line = this.take(end - this.#offset).toString('latin1');
    this.take(2);
    return line;
  }

  rest(): Buffer {
    return this.take(this.#bytes.length - this.#offset);
  }
}
