const scratch = new DataView(new ArrayBuffer(8));

/**
 * A fingerprint of everything that happened in a run, in its order: two runs of one seed must end with the same. Two lanes
 * of FNV-1a with different bases; text and the bits of numbers go in.
 */
export class TraceHash {
  #low = 0x811c9dc5;
  #high = 0x050c5d1f;
  #count = 0;

  /** Events so far. */
  get count(): number {
    return this.#count;
  }

  /** 16 hexadecimal digits. */
  get digest(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0');
    return hex(this.#high) + hex(this.#low);
  }

  event(...parts: readonly (string | number)[]): void {
    this.#count++;
    for (const part of parts) {
      if (typeof part === 'number') {
        scratch.setFloat64(0, part);
        this.#word(scratch.getUint32(0));
        this.#word(scratch.getUint32(4));
      } else {
        for (let i = 0; i < part.length; i++) this.#word(part.charCodeAt(i));
        this.#word(-1);
      }
    }
  }

  #word(word: number): void {
    this.#low = Math.imul(this.#low ^ word, 0x01000193);
    // Another order of the same steps (FNV-1) and a rotation keep the lanes apart.
    this.#high = Math.imul((this.#high << 5) | (this.#high >>> 27), 0x01000193) ^ word;
  }
}
