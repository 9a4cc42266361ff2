import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { CairnError } from '../../base/errors.js';

/** What this project uses of uWebSockets.js; both libraries below offer it. */
export interface HttpResponse {
  writeStatus(status: string): HttpResponse;
  writeHeader(name: string, value: string): HttpResponse;
  /** Chunked encoding. False when the socket could not take all of it: wait for `onWritable`. */
  write(chunk: string | Uint8Array): boolean;
  end(body?: string | Uint8Array, closeConnection?: boolean): HttpResponse;
  /**
   * `totalBytes` is the whole body's size. Second of the pair: the response has ended. Else the socket took only a part, of
   * which `getWriteOffset` and the argument of `onWritable` tell, and nothing more was kept.
   */
  tryEnd(body: string | Uint8Array, totalBytes: number): [boolean, boolean];
  getWriteOffset(): number;
  /** Ends without a body and without a Content-Length. Never give it a length: uWebSockets 20.30 does not finish then. */
  endWithoutBody(): HttpResponse;
  close(): HttpResponse;
  onWritable(handler: (offset: number) => boolean): HttpResponse;
  onAborted(handler: () => void): HttpResponse;
  /** `chunk` is detached when the handler returns. */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): HttpResponse;
  cork(handler: () => void): HttpResponse;
}

/** Lives on the stack of the handler: not to be touched after it has returned. */
export interface HttpRequest {
  /** '' when there is none. */
  getHeader(lowerCaseName: string): string;
  /** The path as it came, not decoded, without the query. */
  getUrl(): string;
  /** Lower case. */
  getMethod(): string;
  /** Without the question mark; undefined or '' when there is none. */
  getQuery(): string | undefined;
  forEach(callback: (lowerCaseName: string, value: string) => void): void;
}

export type RouteHandler = (response: HttpResponse, request: HttpRequest) => void;
type Method = 'get' | 'head' | 'put' | 'post' | 'del' | 'patch' | 'options' | 'any';

declare const listenSocketBrand: unique symbol;
export interface ListenSocket {
  readonly [listenSocketBrand]: true;
}

export type App = {
  readonly [method in Method]: (pattern: string, handler: RouteHandler) => App;
} & {
  listen(host: string, port: number, options: number, callback: (socket: ListenSocket | false) => void): App;
  /** Ends all connections and stops listening. */
  close(): App;
  /** For heads and bodies; 20.57 has it and defaults to 30, 20.30 is fixed at about 10. */
  setIdleTimeout?(seconds: number): void;
  /** For readers of an answer, and after it; a request that waits for its answer is not touched (tried: 45 s). */
  setResponseTimeout?(seconds: number): void;
};

/** A connection that sends nothing useful, or takes nothing of its answer, for about so long is closed. */
const IDLE_TIMEOUT_SECONDS = 10;

interface UwsModule {
  App(): App;
  us_listen_socket_close(socket: ListenSocket): void;
  us_socket_local_port(socket: ListenSocket): number;
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
}

export interface UwsLibrary {
  readonly uws: UwsModule;
  /** For logs and the status, for example "uWebSockets.js 20.57.0". */
  readonly description: string;
}

/** A percent-encoded key of 4,096 bytes takes 12,288; the rest is for headers. The library reads this when it is loaded. */
const MAX_HEADER_BYTES = 20_480;

let loaded: UwsLibrary | undefined;

/** Loads the newest uWebSockets that runs on this machine; the same one each time. Throws `configuration` when none does. */
export function loadUws(): UwsLibrary {
  loaded ??= load();
  return loaded;
}

/** An app whose connections time out alike whichever library runs. */
export function makeApp(): App {
  const app = loadUws().uws.App();
  app.setIdleTimeout?.(IDLE_TIMEOUT_SECONDS);
  app.setResponseTimeout?.(IDLE_TIMEOUT_SECONDS);
  return app;
}

/** The library that runs and its version, for example "uWebSockets.js 20.57.0". */
export function httpLibrary(): string {
  return loadUws().description;
}

function load(): UwsLibrary {
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] ??= String(MAX_HEADER_BYTES);
  const require = createRequire(import.meta.url);
  const failures: string[] = [];
  for (const candidate of [loadCurrent, loadOlder]) {
    try {
      return candidate(require);
    } catch (error) {
      failures.push(firstLines(error));
    }
  }
  throw new CairnError(
    'configuration',
    `no uWebSockets library runs here (Node ${process.version}, ${process.platform} ${process.arch}). ` +
      'Remedy: Node 20, 22 or 24 with glibc 2.38 or newer (Debian 13, Ubuntu 24.04), or Node 20 with glibc 2.27 or newer; ' +
      `musl (Alpine) is not supported. Tried: ${failures.join(' | ')}`,
  );
}

function loadCurrent(require: NodeJS.Require): UwsLibrary {
  const path = require.resolve('uWebSockets.js');
  const uws = require(path) as UwsModule;
  return { uws, description: `uWebSockets.js ${versionIn(require, dirname(path))}` };
}

/** Takes the binary itself: the package's own entry would fall back to a slow imitation with a message on stdout. */
function loadOlder(require: NodeJS.Require): UwsLibrary {
  const manifest = require.resolve('uws-glibc227/package.json');
  const binary = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  const uws = require(join(dirname(manifest), 'binaries', binary)) as UwsModule;
  return { uws, description: `uWebSockets.js ${versionIn(require, dirname(manifest))} (for glibc 2.27)` };
}

function versionIn(require: NodeJS.Require, directory: string): string {
  return (require(join(directory, 'package.json')) as { version: string }).version;
}

/** Without the stack of modules that Node appends. */
function firstLines(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .split('\nRequire stack')[0]!
    .split('\n')
    .filter((line) => line.trim() !== '')
    .join(' ');
}
