import { CairnError } from '../../base/errors.js';
import type { App, ListenSocket, UwsLibrary } from './uws.js';

/** Opens the port for this process alone, so that a second node on it is an error and not a silent sharer. */
export function listen(
  uws: UwsLibrary['uws'],
  app: App,
  host: string,
  port: number,
): Promise<{ token: ListenSocket; port: number }> {
  return new Promise((resolve, reject) => {
    app.listen(host, port, uws.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
      if (token !== false) {
        resolve({ token, port: uws.us_socket_local_port(token) });
        return;
      }
      reject(
        new CairnError(
          'configuration',
          `port ${port} on ${host} is taken, or ${host} is not an address of this machine; choose another with the port and host options`,
        ),
      );
    });
  });
}
