import type { Prng } from '../../src/base/prng.js';
import type { JobMap } from '../../src/ports/executor.js';
import { ProcessEvents } from './ports/process-events.js';
import { Scheduler } from './ports/scheduler.js';
import { SimClock } from './ports/sim-clock.js';
import { SimDisk, type SimDiskOptions } from './ports/sim-disk.js';
import { SimExecutor, type SimExecutorOptions } from './ports/sim-executor.js';
import { SimRandom } from './ports/sim-random.js';

/** The ports of one process from its start to its end. The next start is another machine over the disk that this one leaves. */
export class SimMachine {
  readonly prng: Prng;
  readonly scheduler: Scheduler;
  /** What happens in the process goes through here. */
  readonly events: ProcessEvents;
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly disk: SimDisk;
  readonly #executors: { stop(): void }[] = [];

  private constructor(prng: Prng, makeDisk: (options: SimDiskOptions) => SimDisk, scheduler = new Scheduler(prng)) {
    this.prng = prng;
    this.scheduler = scheduler;
    this.events = new ProcessEvents(this.scheduler);
    this.clock = new SimClock(this.events);
    this.random = new SimRandom(prng.uint32());
    this.disk = makeDisk({ prng: prng.fork(), scheduler: this.events });
  }

  /** A machine with an empty disk. */
  static first(prng: Prng, options: Partial<SimDiskOptions> = {}): SimMachine {
    return new SimMachine(prng, (base) => new SimDisk({ ...base, ...options }));
  }

  /** One of several machines in a world; those that follow it are in the same world. */
  static inWorld(scheduler: Scheduler, prng: Prng): SimMachine {
    return new SimMachine(prng, (base) => new SimDisk(base), scheduler);
  }

  /** As `crash` and `restart`, in the same world. */
  next(prng: Prng, end: 'power-loss' | 'exit'): SimMachine {
    this.powerOff();
    const makeDisk = (base: SimDiskOptions): SimDisk =>
      end === 'exit' ? this.disk.processExit(base) : this.disk.crash(prng, base);
    const machine = new SimMachine(prng.fork(), makeDisk, this.scheduler);
    // The machine's clock goes on, right or wrong.
    machine.clock.jumpWall(this.clock.wallMs() - machine.clock.wallMs());
    return machine;
  }

  executor<Jobs extends JobMap>(
    functions: SimExecutorOptions<Jobs>['functions'],
    options: Partial<SimExecutorOptions<Jobs>> = {},
  ): SimExecutor<Jobs> {
    const { events, prng } = this;
    const executor = new SimExecutor<Jobs>({ scheduler: events, prng, functions, ...options });
    this.#executors.push(executor);
    return executor;
  }

  /** Nothing of this machine happens any more. */
  powerOff(): void {
    this.disk.powerOff();
    this.clock.stop();
    for (const executor of this.#executors) executor.stop();
  }

  /** The power fails; the next start finds what the disk kept. */
  crash(prng: Prng): SimMachine {
    this.powerOff();
    return new SimMachine(prng.fork(), (base) => this.disk.crash(prng, base));
  }

  /** The process is killed or ends; the next start finds all it wrote. */
  restart(prng: Prng): SimMachine {
    this.powerOff();
    return new SimMachine(prng.fork(), (base) => this.disk.processExit(base));
  }
}
