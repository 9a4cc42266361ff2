import { PassThrough, Readable } from 'node:stream';
import { run } from '../../src/cli/program.js';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function collected(stream: PassThrough): () => string {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}

/** One command line in this process. */
export async function runCli(commandLine: readonly string[], input = ''): Promise<Ran> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const [out, err] = [collected(stdout), collected(stderr)];
  const code = await run(commandLine, {
    stdout,
    stderr,
    stdin: Readable.from([Buffer.from(input)]),
    environment: { NO_COLOR: '1' },
  });
  await new Promise((resolve) => setImmediate(resolve));
  return { code, out: out(), err: err() };
}
