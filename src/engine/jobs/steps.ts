/** A job that writes a table yields each time that it has written this much. */
export const STEP_BYTES = 1024 * 1024;

/** The result of a job whose steps are taken one right after the other. */
export function runSteps<Output>(steps: Generator<void, Output>): Output {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
