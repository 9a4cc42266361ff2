import type { Command } from 'commander';
import type { Logger } from 'pino';
import { loadConfig, environmentName, OPTIONS, type Config, type OptionDefinition } from '../config.js';
import { EXIT_CODES } from './exit-code.js';
import type { Terminal } from './output.js';

/** In the environment of a node whose parent holds a channel to it: the node stops when that ends, however the parent died. */
export const STOP_WITH_PARENT = 'CAIRN_STOP_WITH_PARENT';

const DEFINITIONS: readonly OptionDefinition[] = Object.values(OPTIONS);

export function addServeCommand(program: Command, terminal: Terminal): void {
  const serve = program
    .command('serve')
    .description('run a node')
    .option('--config <file>', 'a YAML file with the options below, named as the flags [env: CAIRN_CONFIG]');
  for (const { flag, placeholder, defaultText, help } of DEFINITIONS) {
    const shown = defaultText === '' ? '' : ` (default: ${defaultText})`;
    serve.option(`--${flag} ${placeholder}`, `${help}${shown} [env: ${environmentName(flag)}]`);
  }
  serve
    .addHelpText(
      'after',
      `
A flag beats the environment, which beats the file, which beats the default. The node logs one line with "msg":"ready" and
its addresses. SIGTERM and SIGINT let it finish what it has accepted, sync, and end with exit code 0.

Examples:
  cairn serve
  cairn serve --data-dir /var/lib/cairn --host 0.0.0.0
  CAIRN_HTTP_PORT=0 cairn serve        any free port; the ready line names it`,
    )
    .action((options: Readonly<Record<string, string | undefined>>) => runServe(terminal, options));
}

/** Commander's names are in camel case; those of the configuration are the flags'. */
function flagsOf(options: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  return Object.fromEntries(
    DEFINITIONS.flatMap(({ flag }) => {
      const value = options[flag.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
      return value === undefined ? [] : [[flag, value]];
    }),
  );
}

async function runServe(terminal: Terminal, options: Readonly<Record<string, string | undefined>>): Promise<void> {
  const config = loadConfig({ flags: flagsOf(options), environment: terminal.environment, file: options['config'] });
  const logger = await openLogger(config);
  // The node's own modules are loaded only here: the other commands start faster without them.
  const { startNode } = await import('../main.js');
  const end = (error: unknown): void => {
    logger.fatal({ err: error }, 'the node ends: going on could break a promise');
    process.exit(EXIT_CODES.error);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
  // From the first moment: a signal that comes with the ready line, or during a long recovery, must not kill the node.
  const signal = untilSignal(logger, terminal.environment[STOP_WITH_PARENT] !== undefined);
  const node = await startNode(config, logger, end);
  const { version, httpLibrary } = node.service.status();
  const { httpPort, managementPort, clientPort } = node;
  const { nodeId, host, managementHost, dataDir } = config;
  logger.info(
    {
      nodeId,
      httpPort,
      managementPort,
      clientPort,
      http: `http://${host}:${httpPort}`,
      management: `http://${managementHost}:${managementPort}`,
      client: `${host}:${clientPort}`,
      dataDir,
      version,
      httpLibrary,
    },
    'ready',
  );
  await signal;
  await node.stop();
  logger.info('stopped');
}

async function openLogger(config: Config): Promise<Logger> {
  const { pino } = await import('pino');
  const options = { level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  // Written at once: the last line before an exit must not be lost. There are few lines.
  if (!process.stdout.isTTY) return pino(options, pino.destination({ fd: 1, sync: true }));
  const { default: pretty } = await import('pino-pretty');
  const colorize = !process.env['NO_COLOR'];
  return pino(options, pretty({ colorize, sync: true }));
}

/** Resolves with the first SIGTERM or SIGINT, or the end of the parent; a second one ends the process at once. */
function untilSignal(logger: Logger, stopWithParent: boolean): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    const onSignal = (signal: string): void => {
      if (stopping) process.exit(EXIT_CODES.error);
      stopping = true;
      logger.info({ signal }, 'stopping');
      resolve();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
    if (!stopWithParent || !process.connected) return;
    process.once('disconnect', () => {
      if (!stopping) onSignal('parent ended');
    });
    // It must not keep a node alive that has stopped.
    process.channel?.unref();
  });
}
