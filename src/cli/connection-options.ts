import { Option, type Command } from 'commander';
import { CairnClient } from '../client/index.js';
import { OUTPUT_FORMATS, type OutputFormat } from './output.js';
import { wholeNumber } from './numbers.js';

export interface ConnectionOptions {
  readonly endpoints: string;
  readonly token?: string;
  readonly timeoutMs: number;
}

export interface OutputOptions {
  readonly output: OutputFormat;
}

export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--endpoints <list>', 'host:port of the binary protocol, separated by commas')
        .env('CAIRN_ENDPOINTS')
        .default('127.0.0.1:9090'),
    )
    .addOption(new Option('--token <token>', 'who you are, where the node asks').env('CAIRN_TOKEN'))
    .addOption(new Option('--timeout-ms <ms>', 'the most that one call takes').default(5000).argParser(wholeNumber(1)));
}

export function addOutputOption(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how data is printed').choices(OUTPUT_FORMATS).default('json'),
  );
}

/** Runs `work` with a client and disconnects, whatever happens. */
export async function withClient<T>(options: ConnectionOptions, work: (client: CairnClient) => Promise<T>): Promise<T> {
  const client = new CairnClient({
    endpoints: options.endpoints.split(',').map((endpoint) => endpoint.trim()),
    ...(options.token === undefined ? {} : { token: options.token }),
    clientName: 'cairn-cli',
    deadlineMs: options.timeoutMs,
    connectTimeoutMs: options.timeoutMs,
    maxAttempts: 3,
  });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
