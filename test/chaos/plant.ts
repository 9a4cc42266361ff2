/** Loaded into a node before its program, to give it a bug that the checkers should find. */
import { plantMutations, type Mutation } from '../../src/base/mutations.js';

plantMutations([process.env['CAIRN_CHAOS_MUTATION'] as Mutation]);
