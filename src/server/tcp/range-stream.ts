import { CairnError } from '../../base/errors.js';
import type { Request, ResponseFields } from '../../codec/client-protocol.js';
import type { Scan, Service } from '../service.js';
import type { TcpLimits } from './limits.js';
import { readOptionsOf } from './requests.js';

export type RangeFields = NonNullable<Request['range']>;

/** The connection, as a range sees it. */
export interface RangeOwner {
  /** False while the peer does not take what it was sent; `resume` is called when it does again. */
  readonly acceptsPages: boolean;
  sendPage(id: number, page: NonNullable<ResponseFields['rangePage']>): void;
  /** The range has ended: with its last page, or with this error. */
  rangeEnded(id: number, error: CairnError | null): void;
  /** An error that is none of the expected ones. */
  unexpected(error: unknown): CairnError;
}

/** One range under way: reads a page when the client has given a credit and the connection takes it. */
export class RangeStream {
  readonly id: number;
  readonly #owner: RangeOwner;
  readonly #pageItems: number;
  readonly #pageBytes: number;
  #scan: Scan | null = null;
  #credits: number;
  #remaining: number;
  #running = true;
  #stopped = false;
  /** When the wait for credits or for the peer began; 0 while a page is being read. */
  #waitingSinceMs = 0;

  constructor(id: number, fields: RangeFields, owner: RangeOwner, limits: TcpLimits) {
    this.id = id;
    this.#owner = owner;
    this.#credits = Math.max(1, fields.credits ?? 0);
    this.#remaining = fields.limit ? fields.limit : Number.MAX_SAFE_INTEGER;
    this.#pageItems = Math.min(fields.pageItems || limits.rangePageItems, limits.rangePageItems);
    this.#pageBytes = limits.rangePageBytes;
  }

  start(service: Service, fields: RangeFields): void {
    void this.#guarded(async () => {
      const options = readOptionsOf(fields);
      if (options instanceof CairnError) throw options;
      this.#scan = await service.openScan({
        startKey: fields.startKey ?? new Uint8Array(0),
        endKey: fields.endKey ?? null,
        reverse: fields.reverse ?? false,
        keysOnly: fields.keysOnly ?? false,
        ...options,
      });
      await this.#sendPages(this.#scan);
    });
  }

  more(credits: number): void {
    this.#credits = Math.min(this.#credits + credits, Number.MAX_SAFE_INTEGER);
    this.resume();
  }

  resume(): void {
    const scan = this.#scan;
    if (this.#running || this.#stopped || scan === null || !this.#mayRead()) return;
    this.#running = true;
    void this.#guarded(() => this.#sendPages(scan));
  }

  /** True when only more credits would make it go on. */
  get isStarved(): boolean {
    return !this.#running && this.#credits === 0;
  }

  /** Ends it without an answer. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    // A page being read finds `#stopped` set and closes the scan itself.
    if (!this.#running) this.#scan?.close();
  }

  /** True when the client has not asked for more for so long that the range must end. */
  isAbandoned(nowMs: number, timeoutMs: number): boolean {
    if (this.#running || this.#stopped) {
      this.#waitingSinceMs = 0;
      return false;
    }
    if (this.#waitingSinceMs === 0) this.#waitingSinceMs = nowMs;
    return nowMs - this.#waitingSinceMs > timeoutMs;
  }

  #mayRead(): boolean {
    return this.#credits > 0 && this.#owner.acceptsPages;
  }

  async #sendPages(scan: Scan): Promise<void> {
    while (!this.#stopped && this.#mayRead()) {
      this.#waitingSinceMs = 0;
      const items = await scan.next(Math.min(this.#remaining, this.#pageItems), this.#pageBytes);
      if (this.#stopped) break;
      this.#credits--;
      this.#remaining -= items.length;
      const done = scan.done || this.#remaining <= 0;
      this.#owner.sendPage(this.id, { items, revision: scan.revision, done, stalenessMs: scan.stalenessMs ?? 0 });
      if (done) this.#end(null);
    }
  }

  /** Runs `work` and ends the range when it fails. */
  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#stopped) this.#end(error instanceof CairnError ? error : this.#owner.unexpected(error));
    } finally {
      this.#running = false;
      if (this.#stopped) this.#scan?.close();
    }
  }

  #end(error: CairnError | null): void {
    this.#stopped = true;
    this.#owner.rangeEnded(this.id, error);
  }
}
