/**
 * What somebody writes in an afternoon: node:net, protobufjs, a Map. It speaks the wire of proto/client.proto (hello, Get,
 * Put) without limits, checks or durability, and is what the binary protocol's pipelined reads are measured against.
 *   node dist/bench/peers/naive-server.js [port]
 * Prints `{"port": ...}` when it listens; ends with SIGTERM.
 */
import net from 'node:net';
import { cairn } from '../../src/codec/generated/client.js';

const { Request, Response } = cairn.client.v1;
const values = new Map<string, { value: Uint8Array; revision: number }>();
let lastRevision = 0;

function answer(message: Uint8Array): Uint8Array {
  const request = Request.decode(message);
  const { id } = request;
  if (request.get) {
    const found = values.get(Buffer.from(request.get.key ?? []).toString('latin1'));
    return Response.encode({ id, get: found ?? {} }).finish();
  }
  if (request.put) {
    const revision = ++lastRevision;
    // A copy: the view would keep the whole chunk.
    const value = Uint8Array.prototype.slice.call(request.put.value ?? new Uint8Array(0));
    values.set(Buffer.from(request.put.key ?? []).toString('latin1'), { value, revision });
    return Response.encode({ id, put: { revision } }).finish();
  }
  return Response.encode({ id, hello: { magic: 0x4e52_4943, versionMajor: 1, nodeId: 'naive' } }).finish();
}

const server = net.createServer({ noDelay: true }, (socket) => {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const answers: Uint8Array[] = [];
    while (bytes.length >= 4) {
      const length = bytes.readUInt32LE(0);
      if (bytes.length < 4 + length) break;
      const message = answer(bytes.subarray(4, 4 + length));
      const header = Buffer.alloc(4);
      header.writeUInt32LE(message.length);
      answers.push(header, message);
      bytes = bytes.subarray(4 + length);
    }
    rest = bytes;
    if (answers.length > 0) socket.write(Buffer.concat(answers));
  });
  socket.on('error', () => socket.destroy());
});
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as net.AddressInfo).port })}\n`);
});
