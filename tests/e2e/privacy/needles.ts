// Finding any of very many byte strings in one pass.

interface Needle {
  readonly bytes: Buffer;
  readonly label: string;
}

export interface Hit {
  readonly label: string;
  readonly offset: number;
}

/** The shortest thing that can be looked for. */
const PREFIX = 4;

/** Byte strings, indexed by their first four bytes. */
export class Needles {
  readonly #byPrefix = new Map<number, Needle[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(bytes: Buffer, label: string): void {
    if (bytes.length < PREFIX) throw new RangeError(`a needle needs ${PREFIX} bytes: ${label}`);
    const prefix = bytes.readUInt32LE(0);
    const bucket = this.#byPrefix.get(prefix);
    if (!bucket) this.#byPrefix.set(prefix, [{ bytes, label }]);
    else if (!bucket.some((needle) => needle.bytes.equals(bytes))) bucket.push({ bytes, label });
    else return;
    this.#size += 1;
  }

  /** At most `limit` places, each needle at its first. */
  find(bytes: Buffer, limit = 20): Hit[] {
    const hits = new Map<Needle, Hit>();
    for (let offset = 0; offset + PREFIX <= bytes.length && hits.size < limit; offset++) {
      for (const needle of this.#byPrefix.get(bytes.readUInt32LE(offset)) ?? []) {
        const end = offset + needle.bytes.length;
        if (!hits.has(needle) && bytes.subarray(offset, end).equals(needle.bytes)) hits.set(needle, { label: needle.label, offset });
      }
    }
    return [...hits.values()];
  }
}
