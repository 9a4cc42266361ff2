import { createRequire } from 'node:module';
import type * as UWS from 'uWebSockets.js';

const require = createRequire(import.meta.url);

/** uWebSockets.js, the build that loads here: by itself, so that a ceiling shares no code with what it is the ceiling of. */
export function loadUws(): typeof UWS {
  try {
    return require('uWebSockets.js') as typeof UWS;
  } catch {
    return require('uws-glibc227') as typeof UWS;
  }
}

export function listen(app: UWS.TemplatedApp): void {
  app.listen('127.0.0.1', Number(process.env.PORT), (socket) => {
    if (!socket) throw new Error(`port ${process.env.PORT ?? ''} is taken`);
    process.stdout.write('ready\n');
  });
}
