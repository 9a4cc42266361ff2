import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetworkError, type Connection, type Network } from '../../src/ports/network.js';
import { inWorld, type PortWorld } from './port-world.js';

export interface NetworkWorld extends PortWorld<Network> {
  /** Where tests listen and connect to. */
  readonly host: string;
}

/** Collects what one end hears. */
class Ear {
  readonly connection: Connection;
  readonly chunks: Uint8Array[] = [];
  receivedBytes = 0;
  drains = 0;
  ends = 0;
  closes = 0;
  closeError: Error | undefined;

  constructor(connection: Connection) {
    this.connection = connection;
    connection.onData = (chunk) => {
      this.#expectOpen();
      this.chunks.push(chunk);
      this.receivedBytes += chunk.length;
    };
    connection.onDrain = () => {
      this.#expectOpen();
      this.drains++;
    };
    connection.onEnd = () => {
      this.#expectOpen();
      this.ends++;
    };
    connection.onClose = (error) => {
      this.closes++;
      this.closeError = error;
    };
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  #expectOpen(): void {
    assert.equal(this.closes, 0, 'no call back may follow onClose');
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** What every network must do; `name` says which one is tried. */
export function networkConformance(name: string, make: () => NetworkWorld): void {
  const check = (behaviour: string, body: (world: NetworkWorld) => Promise<void>): void => {
    void test(`${name}: ${behaviour}`, () => inWorld<Network, NetworkWorld>(make, body));
  };

  const checkPair = (behaviour: string, body: (client: Ear, server: Ear, world: NetworkWorld) => Promise<void>): void =>
    check(behaviour, async (world) => {
      const { port: network, host } = world;
      let server: Ear | undefined;
      const listener = await world.settle(
        network.listen(host, 0, (connection) => {
          server = new Ear(connection);
        }),
      );
      const client = new Ear(await world.settle(network.connect(host, listener.port)));
      await world.until(() => server !== undefined);
      try {
        await body(client, server!, world);
      } finally {
        client.connection.destroy();
        server!.connection.destroy();
        await world.settle(listener.close());
      }
    });

  checkPair('carries bytes both ways', async (client, server, world) => {
    client.connection.write(bytes('ping'));
    server.connection.write(bytes('pong'));
    await world.until(() => client.text === 'pong' && server.text === 'ping');
  });

  checkPair('many small writes arrive complete and in order', async (client, server, world) => {
    let expected = '';
    for (let i = 0; i < 5000; i++) {
      const part = `${i},`;
      expected += part;
      client.connection.write(bytes(part));
      if (i % 700 === 699) await world.until(() => server.receivedBytes > 0);
    }
    await world.until(() => server.receivedBytes === expected.length);
    assert.equal(server.text, expected);
  });

  checkPair('mixed sizes of one turn arrive complete and in order', async (client, server, world) => {
    const parts = [10, 300_000, 1, 0, 70_000, 5].map((length, i) => new Uint8Array(length).fill(i + 1));
    for (const part of parts) client.connection.write(part);
    const expected = Buffer.concat(parts);
    await world.until(() => server.receivedBytes === expected.length);
    assert.ok(Buffer.concat(server.chunks).equals(expected));
  });

  checkPair(
    'bufferedBytes counts written bytes, and onDrain tells that they were taken',
    async (client, server, world) => {
      const { connection } = client;
      assert.equal(connection.bufferedBytes, 0);
      connection.write(bytes('abc'));
      connection.write(bytes('de'));
      assert.equal(connection.bufferedBytes, 5);
      await world.until(() => client.drains > 0);
      assert.equal(connection.bufferedBytes, 0);
      await world.until(() => server.text === 'abcde');
    },
  );

  checkPair('a paused receiver hears nothing, and the sender sees its bytes stay', async (client, server, world) => {
    server.connection.pause();
    const chunk = new Uint8Array(1 << 20).fill(65);
    let sent = 0;
    // The system's own buffers take some megabytes; more than they can hold must stay here.
    for (let i = 0; i < 16; i++) {
      client.connection.write(chunk);
      sent += chunk.length;
    }
    // Long enough for any byte to come through: a second connection carries a full exchange meanwhile.
    let second: Ear | undefined;
    const listener = await world.settle(
      world.port.listen(world.host, 0, (connection) => {
        second = new Ear(connection);
      }),
    );
    const other = new Ear(await world.settle(world.port.connect(world.host, listener.port)));
    other.connection.write(bytes('x'));
    await world.until(() => second?.text === 'x');
    assert.equal(server.receivedBytes, 0);
    assert.ok(client.connection.bufferedBytes > 0);
    assert.equal(client.drains, 0);
    server.connection.resume();
    await world.until(() => server.receivedBytes === sent);
    await world.until(() => client.drains > 0);
    assert.equal(client.connection.bufferedBytes, 0);
    other.connection.destroy();
    second!.connection.destroy();
    await world.settle(listener.close());
  });

  checkPair('pause and resume at once lose nothing', async (client, server, world) => {
    server.connection.pause();
    server.connection.resume();
    client.connection.write(bytes('hello'));
    await world.until(() => server.text === 'hello');
  });

  checkPair('after end the other side can still write: half-close', async (client, server, world) => {
    client.connection.write(bytes('question'));
    client.connection.end();
    await world.until(() => server.ends === 1);
    assert.equal(server.text, 'question');
    assert.equal(server.closes, 0);
    server.connection.write(bytes('answer'));
    await world.until(() => client.text === 'answer');
    server.connection.end();
    await world.until(() => client.closes === 1 && server.closes === 1);
    assert.equal(client.ends, 1);
    assert.equal(client.closeError, undefined);
    assert.equal(server.closeError, undefined);
  });

  checkPair('end sends everything that is buffered first', async (client, server, world) => {
    const parts = Array.from({ length: 40 }, (_, i) => new Uint8Array(50_000).fill(i));
    for (const part of parts) client.connection.write(part);
    client.connection.end();
    await world.until(() => server.ends === 1);
    assert.ok(Buffer.concat(server.chunks).equals(Buffer.concat(parts)));
  });

  checkPair('writes after end are dropped', async (client, server, world) => {
    client.connection.write(bytes('kept'));
    client.connection.end();
    client.connection.write(bytes('dropped'));
    await world.until(() => server.ends === 1);
    assert.equal(server.text, 'kept');
  });

  checkPair('destroy closes this side without an error and tells the other', async (client, server, world) => {
    client.connection.destroy();
    client.connection.write(bytes('dropped'));
    client.connection.destroy();
    assert.equal(client.connection.bufferedBytes, 0);
    await world.until(() => client.closes === 1 && server.ends + server.closes > 0);
    assert.equal(client.closeError, undefined);
    assert.equal(server.text, '');
  });

  checkPair('a side destroyed by its own call back hears nothing more', async (client, server, world) => {
    const heard = server.connection.onData;
    server.connection.onData = (chunk) => {
      heard(chunk);
      server.connection.destroy();
    };
    client.connection.write(new Uint8Array(500_000));
    await world.until(() => server.closes === 1 && client.closes + client.ends > 0);
    assert.equal(server.chunks.length, 1);
  });

  checkPair('the peer is named host:port', async (client, server) => {
    assert.match(client.connection.peer, /^.+:\d+$/);
    assert.match(server.connection.peer, /^.+:\d+$/);
  });

  check('port 0 picks free ports', async (world) => {
    const first = await world.settle(world.port.listen(world.host, 0, () => {}));
    const second = await world.settle(world.port.listen(world.host, 0, () => {}));
    assert.ok(first.port > 0 && second.port > 0 && first.port !== second.port);
    await world.settle(first.close());
    await world.settle(second.close());
  });

  check('a taken port is refused with EADDRINUSE', async (world) => {
    const listener = await world.settle(world.port.listen(world.host, 0, () => {}));
    const second = world.port.listen(world.host, listener.port, () => {});
    await assert.rejects(world.settle(second), (error) => error instanceof NetworkError && error.code === 'EADDRINUSE');
    await world.settle(listener.close());
  });

  check('connecting where nobody listens is refused with ECONNREFUSED', async (world) => {
    const listener = await world.settle(world.port.listen(world.host, 0, () => {}));
    await world.settle(listener.close());
    const attempt = world.port.connect(world.host, listener.port);
    await assert.rejects(
      world.settle(attempt),
      (error) => error instanceof NetworkError && error.code === 'ECONNREFUSED',
    );
  });

  check('a closed listener leaves its connections open', async (world) => {
    let server: Ear | undefined;
    const listener = await world.settle(
      world.port.listen(world.host, 0, (connection) => {
        server = new Ear(connection);
      }),
    );
    const client = new Ear(await world.settle(world.port.connect(world.host, listener.port)));
    await world.until(() => server !== undefined);
    await world.settle(listener.close());
    client.connection.write(bytes('still here'));
    await world.until(() => server!.text === 'still here');
    client.connection.destroy();
    server!.connection.destroy();
  });
}
