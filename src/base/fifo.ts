/** A queue over one array: amortised O(1) push and shift, without a node per item. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  /** The item `distance` places behind the head. */
  at(distance: number): T | undefined {
    return this.#items[this.#head + distance];
  }

  /** Keeps the order of the others. */
  removeWhere(matches: (item: T) => boolean): void {
    this.#items = (this.#items.slice(this.#head) as T[]).filter((item) => !matches(item));
    this.#head = 0;
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.#head === this.#items.length) return undefined;
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head >= 4096 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
