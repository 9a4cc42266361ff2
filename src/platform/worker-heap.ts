import type { ResourceLimits } from 'node:worker_threads';

/**
 * For threads that live on buffers. V8 lets a thread's young generation grow to 48 MB before it looks for garbage, and it knows
 * nothing of the memory outside of its heap that the garbage holds: blocks that LZ4 made.
 */
export const SMALL_HEAP: ResourceLimits = { maxYoungGenerationSizeMb: 2 };
