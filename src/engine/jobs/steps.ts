/**
 * A job that writes a table yields each time that it has added this much to it, before compression: LZ4 leaves as much memory behind
 * as it was given, however well that compressed.
 */
export const STEP_BYTES = 2 * 1024 * 1024;

/** The result of a job whose steps are taken one right after the other. */
export function runSteps<Output>(steps: Generator<void, Output>): Output {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
