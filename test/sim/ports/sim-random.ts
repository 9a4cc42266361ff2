import { Prng } from '../../../src/base/prng.js';
import type { Random } from '../../../src/ports/random.js';

/** Repeatable randomness for one node. */
export class SimRandom extends Prng implements Random {}
