import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Log } from '../../../src/engine/log/log.js';
import type { LogOptions } from '../../../src/engine/log/log-options.js';
import { LogThreadWriter } from '../../../src/platform/log-thread-writer.js';
import { NodeClock } from '../../../src/platform/node-clock.js';
import { NodeDisk } from '../../../src/platform/node-disk.js';
import { NodeRandom } from '../../../src/platform/node-random.js';
import type { Disk } from '../../../src/ports/disk.js';
import type { LogWriter } from '../../../src/ports/log-writer.js';
import { SimClock } from '../../sim/ports/sim-clock.js';
import { append, DIRECTORY, World } from './harness.js';

/** A place for a log and the means to run it: the same tests run on the thread and on its simulated twin. */
interface Ground {
  readonly name: string;
  options(): Promise<Pick<LogOptions, 'directory' | 'disk' | 'clock' | 'random' | 'writer'>>;
  run<T>(promise: Promise<T>): Promise<T>;
  /** Lets others work. */
  pause(): Promise<void>;
  end(): Promise<void>;
}

function realGround(): Ground {
  let directory = '';
  return {
    name: 'thread',
    options: async () => {
      if (directory === '') directory = await mkdtemp(join(tmpdir(), 'cairn-log-'));
      const writer: LogWriter = new LogThreadWriter();
      const disk: Disk = new NodeDisk();
      return { directory: join(directory, 'log'), disk, clock: new NodeClock(), random: new NodeRandom(), writer };
    },
    pause: () => new Promise((resolve) => setImmediate(resolve)),
    run: (promise) => promise,
    end: () => rm(directory, { recursive: true, force: true }),
  };
}

function simulatedGround(): Ground {
  const world = new World(1);
  return {
    name: 'simulated',
    options: () => {
      const clock = new SimClock(world.scheduler);
      const { disk, prng } = world;
      return Promise.resolve({ directory: DIRECTORY, disk, clock, random: prng, writer: world.writer(clock) });
    },
    pause: () => world.scheduler.runFor(5),
    run: (promise) => world.scheduler.run(promise),
    end: () => Promise.resolve(),
  };
}

const SIZES = { maxEntryBytes: 1000, segmentBytes: 64 * 1024, ringBytes: 16 * 1024 };

async function open(ground: Ground, events: { durable: number[]; failures: Error[] }, found: number[]): Promise<Log> {
  return Log.open(
    {
      ...(await ground.options()),
      ...SIZES,
      onDurable: (sequence) => events.durable.push(sequence),
      onFatal: (error) => events.failures.push(error),
    },
    { entry: (_group, _replicaId, _term, index) => found.push(index), hardState: () => undefined },
  );
}

for (const make of [realGround, simulatedGround]) {
  const { name } = make();
  const conformance = (title: string, body: (ground: Ground) => Promise<void>): void => {
    test(`log writer, ${name}: ${title}`, async () => {
      const ground = make();
      try {
        await body(ground);
      } finally {
        await ground.end();
      }
    });
  };

  conformance('what is sealed becomes durable, in order, and is found again', async (ground) => {
    const events = { durable: [] as number[], failures: [] as Error[] };
    const log = await open(ground, events, []);
    for (let index = 1; index <= 600; index++) {
      while (!append(log, 1, index, 1 + (index % 300))) {
        await ground.run(log.whenDurable(log.seal()));
        log.release(log.durableSequence);
        // Without a spare it takes until one is made.
        if (log.admission !== 'open') await ground.pause();
      }
      if (index % 7 === 0) log.seal();
    }
    await ground.run(log.close());
    assert.deepEqual(events.failures, []);
    assert.deepEqual(
      events.durable,
      [...events.durable].sort((a, b) => a - b),
    );
    const found: number[] = [];
    const second = await open(ground, events, found);
    assert.deepEqual(
      found,
      Array.from({ length: 600 }, (_, i) => i + 1),
    );
    await ground.run(second.close());
  });

  conformance('a failed write is told once and ends it', async (ground) => {
    const events = { durable: [] as number[], failures: [] as Error[] };
    const options = await ground.options();
    const log = Log.open(
      {
        ...options,
        ...SIZES,
        onDurable: (sequence) => events.durable.push(sequence),
        onFatal: (error) => events.failures.push(error),
      },
      { entry: () => undefined, hardState: () => undefined },
    );
    // The writer opens the segment by its name when the first record comes.
    options.disk.blocking.remove(`${options.directory}/000001.log`);
    append(log, 1, 1);
    await assert.rejects(ground.run(log.whenDurable(log.seal())), /ENOENT/);
    assert.match(String(events.failures[0]), /ENOENT/);
    assert.deepEqual(events.durable, []);
    await ground.run(log.close());
    assert.equal(events.failures.length, 1);
  });
}

test('log writer, thread: close leaves no thread behind and the directory in order', async () => {
  const ground = realGround();
  try {
    const options = await ground.options();
    const log = Log.open(
      { ...options, ...SIZES, onDurable: () => undefined, onFatal: assert.fail },
      { entry: () => undefined, hardState: () => undefined },
    );
    append(log, 1, 1);
    await log.close();
    const names = await readdir(options.directory);
    assert.ok(names.includes('000001.log'));
    assert.ok(
      names.every((name) => /^\d{6}\.(log|spare|reserve)$/.test(name)),
      names.join(' '),
    );
  } finally {
    await ground.end();
  }
});
