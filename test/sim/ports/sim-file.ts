import { assert } from '../../../src/base/assert.js';
import type { Prng } from '../../../src/base/prng.js';

/** What a disk writes as one unit, if all goes well. */
export const SECTOR_BYTES = 512;

/** Never changed once made, so that versions and copies share them. Undefined: a hole, read as zeros. */
type Sector = Uint8Array | undefined;

interface DirtySector {
  /** What the sector held before each write since the last sync; the first is what the disk holds. */
  readonly versions: Sector[];
  /** A failed sync marked the sector clean: no later sync writes it, though reads still show the new bytes. */
  isForgotten: boolean;
}

/** What a crash may do to a sector that was being written, besides keeping or losing the write. */
export interface SectorDamage {
  /** The sector may hold new bytes up to some point and old ones behind. */
  readonly tears: boolean;
  /**
   * A torn sector may hold garbage anywhere, also where the write changed nothing. Without it bytes beside the written ones
   * are safe ("powersafe overwrite").
   */
  readonly garbles: boolean;
}

/** How the sectors of one file fare in a crash. */
type Fate = { readonly kind: 'chance'; readonly kept: number } | { readonly kind: 'cut'; readonly at: number };

/** The bytes of one file: what reads see, and what a crash may leave of it. */
export class SimFile {
  readonly #sectors: Sector[] = [];
  readonly #dirty = new Map<number, DirtySector>();
  /** The durable size, then each size since; the last is the current one. */
  #sizes: number[] = [0];

  get size(): number {
    return this.#sizes[this.#sizes.length - 1]!;
  }

  /** Copies bytes from `offset` into the target; returns the count, fewer at the end of the file. */
  read(target: Uint8Array, offset: number): number {
    const length = Math.max(0, Math.min(target.length, this.size - offset));
    for (let done = 0; done < length;) {
      const at = offset + done;
      const inSector = at % SECTOR_BYTES;
      const count = Math.min(SECTOR_BYTES - inSector, length - done);
      const sector = this.#sectors[Math.floor(at / SECTOR_BYTES)];
      if (sector === undefined) target.fill(0, done, done + count);
      else target.set(sector.subarray(inSector, inSector + count), done);
      done += count;
    }
    return length;
  }

  write(source: Uint8Array, offset: number): void {
    for (let done = 0; done < source.length;) {
      const at = offset + done;
      const index = Math.floor(at / SECTOR_BYTES);
      const inSector = at % SECTOR_BYTES;
      const count = Math.min(SECTOR_BYTES - inSector, source.length - done);
      const changed = copySector(this.#sectors[index]);
      changed.set(source.subarray(done, done + count), inSector);
      this.#change(index, changed);
      done += count;
    }
    if (offset + source.length > this.size) this.#sizes.push(offset + source.length);
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.size) {
      const kept = sizeBytes % SECTOR_BYTES;
      const last = Math.floor(sizeBytes / SECTOR_BYTES);
      if (kept > 0 && this.#sectors[last] !== undefined) {
        this.#change(last, copySector(this.#sectors[last]).fill(0, kept));
      }
      for (let index = kept > 0 ? last + 1 : last; index < this.#sectors.length; index++) {
        if (this.#sectors[index] !== undefined) this.#change(index, undefined);
      }
      this.#sectors.length = Math.min(this.#sectors.length, Math.ceil(sizeBytes / SECTOR_BYTES));
    }
    if (sizeBytes !== this.size) this.#sizes.push(sizeBytes);
  }

  sync(): void {
    for (const [index, dirty] of this.#dirty) if (!dirty.isForgotten) this.#dirty.delete(index);
    this.#sizes = [this.size];
  }

  /** Makes one write durable, and the size as far as it is needed to read it back; nothing else. */
  syncRange(offset: number, length: number): void {
    if (length === 0) return;
    const end = offset + length;
    for (let index = Math.floor(offset / SECTOR_BYTES); index * SECTOR_BYTES < end; index++) this.#dirty.delete(index);
    // Every size the file had before its last one below `end` can no longer come back.
    const tooSmall = this.#sizes.findLastIndex((size) => size < end);
    this.#sizes.splice(0, tooSmall + 1);
    assert(this.#sizes.length > 0, 'a synced range lies inside the file');
  }

  /**
   * What Linux does when a sync fails: each dirty sector may have reached the disk or not, and all count as clean, so a
   * second sync succeeds without writing them.
   */
  failSync(prng: Prng): void {
    for (const [index, dirty] of this.#dirty) {
      if (dirty.isForgotten) continue;
      if (prng.chance(0.5)) {
        this.#dirty.delete(index);
      } else {
        dirty.versions.length = 1;
        dirty.isForgotten = true;
      }
    }
  }

  /** Flips a bit of the stored byte, as a disk does that rots. */
  flipBit(offset: number, bit: number): void {
    assert(offset < this.size, `an offset below the size of ${this.size} bytes, found ${offset}`);
    const index = Math.floor(offset / SECTOR_BYTES);
    const flip = (sector: Sector): Sector => {
      const changed = copySector(sector);
      changed[offset % SECTOR_BYTES]! ^= 1 << bit;
      return changed;
    };
    this.#sectors[index] = flip(this.#sectors[index]);
    const dirty = this.#dirty.get(index);
    if (dirty !== undefined) dirty.versions.splice(0, dirty.versions.length, ...dirty.versions.map(flip));
  }

  /** Whether a crash can take anything from it. */
  get isDurable(): boolean {
    return this.#dirty.size === 0 && this.#sizes.length === 1;
  }

  /** What the disk may hold after a crash now; this file stays as it is. */
  afterCrash(prng: Prng, damage: SectorDamage): SimFile {
    const survivor = new SimFile();
    const size = prng.chance(0.5) ? prng.pick(this.#sizes) : prng.pick([this.#sizes[0]!, this.size]);
    const fate = this.#fate(prng);
    survivor.#sizes = [size];
    for (let index = 0; index * SECTOR_BYTES < size; index++) {
      const current = this.#sectors[index];
      const dirty = this.#dirty.get(index);
      const sector = dirty === undefined ? current : settle(dirty, current, index, fate, prng, damage);
      // Whatever stood behind the end of the file reads as zeros when the file grows again.
      const kept = size - index * SECTOR_BYTES;
      survivor.#sectors[index] =
        sector !== undefined && kept < SECTOR_BYTES ? copySector(sector).fill(0, kept) : sector;
    }
    return survivor;
  }

  #fate(prng: Prng): Fate {
    // Sectors that fare alike and those that fare each for itself find different bugs.
    switch (prng.below(5)) {
      case 0:
        return { kind: 'chance', kept: 0 };
      case 1:
        return { kind: 'chance', kept: 1 };
      case 2:
        return {
          kind: 'cut',
          at: Math.floor((prng.unit() * this.#sizes.reduce((a, b) => Math.max(a, b))) / SECTOR_BYTES),
        };
      default:
        return { kind: 'chance', kept: prng.unit() };
    }
  }

  #change(index: number, sector: Sector): void {
    const before = this.#sectors[index];
    this.#sectors[index] = sector;
    const dirty = this.#dirty.get(index);
    if (dirty === undefined) {
      this.#dirty.set(index, { versions: [before], isForgotten: false });
    } else {
      dirty.versions.push(before);
      dirty.isForgotten = false;
    }
  }
}

function copySector(sector: Sector): Uint8Array {
  return sector === undefined ? new Uint8Array(SECTOR_BYTES) : sector.slice();
}

function settle(
  dirty: DirtySector,
  current: Sector,
  index: number,
  fate: Fate,
  prng: Prng,
  damage: SectorDamage,
): Sector {
  const { versions } = dirty;
  if (dirty.isForgotten) return versions[0];
  const isKept = fate.kind === 'cut' ? index < fate.at : prng.chance(fate.kept);
  const isAtCut = fate.kind === 'cut' && index === fate.at;
  if (damage.tears && (isAtCut || prng.chance(0.05))) return tear(versions[versions.length - 1], current, prng, damage);
  if (isKept) return current;
  return prng.chance(0.8) ? versions[0] : prng.pick(versions);
}

/** The new bytes up to some point, then the old ones; seldom garbage in between. */
function tear(old: Sector, current: Sector, prng: Prng, damage: SectorDamage): Sector {
  const torn = copySector(current);
  const at = prng.below(SECTOR_BYTES);
  torn.set(copySector(old).subarray(at), at);
  if (damage.garbles && prng.chance(0.2))
    prng.fill(torn.subarray(at, Math.min(SECTOR_BYTES, at + prng.between(1, 64))));
  return torn;
}
