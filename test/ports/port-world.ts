/** One implementation of a port, fresh for one test. */
export interface PortWorld<Port> {
  readonly port: Port;
  /** Waits for the promise while the world runs. */
  settle<T>(promise: Promise<T>): Promise<T>;
  /** Lets the world run until the condition holds; fails when it never can. */
  until(condition: () => boolean): Promise<void>;
  close(): Promise<void>;
}

/** Runs a test's body in a fresh world that is closed afterwards. */
export async function inWorld<Port, World extends PortWorld<Port>>(
  make: () => World | Promise<World>,
  body: (world: World) => Promise<void>,
): Promise<void> {
  const world = await make();
  try {
    await body(world);
  } finally {
    await world.close();
  }
}

/** For the real ports: gives the process's loop turns until the condition holds. The test runner bounds the wait. */
export async function untilReal(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
