// The ceiling for HTTP reads: bare uWebSockets.js answering from a Map. Started by the benchmark with PORT.
import { KEY_COUNT, valueOf } from '../runner/data-set.js';
import { listen, loadUws } from './uws.js';

const values = new Map<string, Buffer>();
for (let i = 0; i < KEY_COUNT; i++) values.set(`user:${i}`, Buffer.from(JSON.stringify(valueOf(i))));

const app = loadUws().App();
app.get('/api/v1/kv/*', (res, req) => {
  const value = values.get(decodeURIComponent(req.getUrl().slice(11)));
  if (value === undefined) {
    res.writeStatus('404 Not Found').end();
    return;
  }
  res.cork(() => {
    res.writeHeader('content-type', 'application/json').writeHeader('etag', '"1"').end(value);
  });
});
listen(app);
