// What a plain server of the binary protocol does: node:net, the generated protobuf code, a Map. Started by the benchmark
// with PORT. It speaks enough of proto/client.proto for the load generator: the hello and Get.
import net from 'node:net';
import { cairn } from '../../src/codec/generated/client.js';
import { KEY_COUNT, valueOf } from '../runner/data-set.js';

const { Request, Response } = cairn.client.v1;
const HEADER_BYTES = 4;

const values = new Map<string, Buffer>();
for (let i = 0; i < KEY_COUNT; i++)
  values.set(`key:${String(i).padStart(12, '0')}`, Buffer.from(JSON.stringify(valueOf(i))));

const server = net.createServer((socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    socket.cork();
    while (bytes.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + bytes.readUInt32LE(0);
      if (bytes.length < end) break;
      answer(socket, bytes.subarray(HEADER_BYTES, end));
      bytes = bytes.subarray(end);
    }
    socket.uncork();
    rest = bytes;
  });
});

function answer(socket: net.Socket, message: Buffer): void {
  const request = Request.decode(message);
  const id = request.id;
  if (request.hello) {
    send(socket, { id, hello: { ...request.hello, maxFrameBytes: 1 << 20, maxInFlight: 1024, nodeId: 'naive' } });
    return;
  }
  const value = values.get(Buffer.from(request.get?.key ?? []).toString());
  send(socket, { id, get: value === undefined ? {} : { value, revision: 1 } });
}

function send(socket: net.Socket, response: cairn.client.v1.Response.$Properties): void {
  const body = Response.encode(response).finish();
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32LE(body.length);
  socket.write(header);
  socket.write(body);
}

server.listen(Number(process.env.PORT), '127.0.0.1', () => process.stdout.write('ready\n'));
