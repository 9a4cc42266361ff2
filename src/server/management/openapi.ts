/** The OpenAPI 3.1 description of both ports, served as /openapi.json. Written by hand beside API.md; a test compares it with the routes. */

type Schema = Readonly<Record<string, unknown>>;

const string: Schema = { type: 'string' };
const boolean: Schema = { type: 'boolean' };
const revision: Schema = { $ref: '#/components/schemas/Revision' };

function object(properties: Record<string, Schema>, required: string[] = Object.keys(properties)): Schema {
  return { type: 'object', properties, required };
}

function array(items: Schema): Schema {
  return { type: 'array', items };
}

function json(schema: Schema): Schema {
  return { 'application/json': { schema } };
}

const problem = (description: string): Schema => ({
  description,
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
});

const DATA_HEADERS: Schema = {
  'X-Cairn-Node': { schema: string, description: 'the node that answered' },
  'X-Cairn-Partition': { schema: { type: 'integer' }, description: 'the partition of the key' },
  ETag: { schema: string, description: 'the revision in double quotes' },
};

const LIST_HEADERS: Schema = { 'X-Cairn-Node': { schema: string, description: 'the node that answered' } };

function ok(description: string, schema: Schema, headers: Schema = DATA_HEADERS): Schema {
  return { description, headers, content: json(schema) };
}

function parameter(name: string, description: string, schema: Schema): Schema {
  return { name, in: 'query', required: false, description, schema };
}

function header(name: string, description: string): Schema {
  return { name, in: 'header', required: false, description, schema: string };
}

const KEY_PARAMETER: Schema = {
  name: 'key',
  in: 'path',
  required: true,
  description: '1 to 4,096 bytes of percent-encoded UTF-8; slashes may stand as they are',
  schema: { type: 'string', minLength: 1 },
};
const integer: Schema = { type: 'integer', minimum: 0 };
const clusterNode = object(
  {
    id: string,
    state: { enum: ['serving', 'not_ready', 'connected', 'not_reached'] },
    partitionsLed: integer,
    roundTripMs: { type: 'number', description: 'of messages between nodes, smoothed' },
    version: { ...string, description: 'this and what follows: only of the node that answers' },
    startedAt: { ...string, format: 'date-time' },
    sizeBytes: integer,
    storage: { type: 'object' },
  },
  ['id', 'state', 'partitionsLed'],
);
const clusterPartition = object(
  {
    partition: integer,
    leader: { type: ['string', 'null'], description: 'null: none is known' },
    replicas: array(string),
    role: { ...string, description: 'of the replica on the node that answers, as term, indexes and elections' },
    term: integer,
    commitIndex: integer,
    appliedIndex: integer,
    lag: { ...integer, description: 'committed entries that are not applied here' },
    elections: object({ stood: integer, won: integer }),
    followers: array(
      object({
        id: string,
        state: string,
        lag: { ...integer, description: "entries of the leader's log that are not on this disk" },
      }),
    ),
  },
  ['partition', 'leader', 'replicas', 'role', 'term', 'commitIndex', 'appliedIndex', 'lag', 'elections'],
);
const AT = parameter('at', 'read history: digits are a revision, RFC 3339 is a time', string);
const CONSISTENCY = parameter('consistency', 'stale answers carry X-Cairn-Staleness-Ms', {
  enum: ['linearizable', 'stale'],
  default: 'linearizable',
});
const IF_MATCH = header('If-Match', 'a list of revisions in double quotes, or * for "exists"');
const IF_NONE_MATCH = header(
  'If-None-Match',
  '* on a write: only when absent; a revision on a read: 304 when unchanged',
);

const WRITE_PROBLEMS: Schema = {
  400: problem('invalid_request, invalid_key, invalid_json'),
  412: problem('precondition_failed, with currentRevision (0: absent)'),
  413: problem('too_large'),
  503: problem('overloaded, unavailable, shutting_down; see Retry-After'),
  504: problem('deadline_exceeded: the outcome is unknown'),
  507: problem('disk_full'),
};
const READ_PROBLEMS: Schema = {
  400: problem('invalid_request, invalid_key'),
  404: problem('key_not_found'),
  410: problem('history_gone, with minRevision'),
};

const item = object(
  { key: string, keyBase64: string, value: {}, valueBase64: string, contentType: string, revision, expiresAt: string },
  ['revision'],
);
const keyList: Schema = { required: true, content: json(object({ keys: array(string) })) };
const results = (member: Schema): Schema => object({ results: { type: 'object', additionalProperties: member } });
const status = (name: string): Schema => object({ status: { const: name } });

export const OPENAPI: Schema = {
  openapi: '3.1.0',
  info: {
    title: 'Cairn',
    version: '1',
    description:
      'A distributed JSON key/value store. Paths under /api/v1/kv are on the public port, the others on the management port.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  tags: [
    { name: 'data', description: 'public port' },
    { name: 'management', description: 'management port' },
  ],
  paths: {
    '/api/v1/kv/{key}': {
      parameters: [KEY_PARAMETER],
      get: {
        tags: ['data'],
        operationId: 'get',
        parameters: [AT, CONSISTENCY, IF_NONE_MATCH],
        responses: {
          200: {
            description: 'the value; a raw value comes back raw with its content type',
            headers: DATA_HEADERS,
            content: {
              ...json(object({ key: string, value: {}, revision, expiresAt: string }, ['key', 'value', 'revision'])),
              '*/*': {},
            },
          },
          304: { description: 'unchanged', headers: DATA_HEADERS },
          ...READ_PROBLEMS,
        },
      },
      head: {
        tags: ['data'],
        operationId: 'head',
        parameters: [AT, CONSISTENCY, IF_NONE_MATCH],
        responses: {
          200: { description: 'as GET, without the body', headers: DATA_HEADERS },
          404: { description: 'absent' },
        },
      },
      put: {
        tags: ['data'],
        operationId: 'put',
        parameters: [IF_MATCH, IF_NONE_MATCH],
        requestBody: {
          required: true,
          content: {
            ...json(
              object({ value: {}, ttl: { type: 'number', minimum: 0.001, maximum: 1e9, description: 'seconds' } }, [
                'value',
              ]),
            ),
            '*/*': { schema: { description: 'any other content type: raw bytes' } },
          },
        },
        responses: {
          200: ok('stored', object({ key: string, revision })),
          415: problem('unsupported_media_type'),
          ...WRITE_PROBLEMS,
        },
      },
      delete: {
        tags: ['data'],
        operationId: 'delete',
        parameters: [IF_MATCH, IF_NONE_MATCH],
        responses: { 200: ok('absent now', object({ key: string, deleted: boolean, revision })), ...WRITE_PROBLEMS },
      },
    },
    '/api/v1/kv/batch': {
      post: {
        tags: ['data'],
        operationId: 'batchPut',
        requestBody: { required: true, content: json({ type: 'object', maxProperties: 10_000 }) },
        responses: {
          200: ok('all stored', results(object({ revision })), LIST_HEADERS),
          207: ok(
            'some keys failed',
            results(object({ revision, error: { $ref: '#/components/schemas/Problem' } }, [])),
            LIST_HEADERS,
          ),
          ...WRITE_PROBLEMS,
        },
      },
    },
    '/api/v1/kv/batch/get': {
      post: {
        tags: ['data'],
        operationId: 'batchGet',
        parameters: [AT, CONSISTENCY],
        requestBody: keyList,
        responses: {
          200: ok('all read at one instant', results({ oneOf: [item, { type: 'null' }] }), LIST_HEADERS),
          ...READ_PROBLEMS,
        },
      },
    },
    '/api/v1/kv/batch/delete': {
      post: {
        tags: ['data'],
        operationId: 'batchDelete',
        requestBody: keyList,
        responses: {
          200: ok('absent now', results(object({ deleted: boolean, revision })), LIST_HEADERS),
          ...WRITE_PROBLEMS,
        },
      },
    },
    '/api/v1/kv/range': {
      get: {
        tags: ['data'],
        operationId: 'range',
        description:
          '[startKey, endKey) in byte order at one instant; without any parameter this is the key named "range".',
        parameters: [
          parameter('startKey', 'first key', string),
          parameter('endKey', 'first key after the range', string),
          parameter('prefix', 'only keys that begin so', string),
          parameter('limit', 'items of a page', { type: 'integer', minimum: 1, maximum: 10_000, default: 100 }),
          parameter('cursor', 'from the page before, with the same parameters', string),
          parameter('reverse', 'from the last key to the first', boolean),
          parameter('keysOnly', 'without values', boolean),
          AT,
          CONSISTENCY,
        ],
        responses: {
          200: {
            description:
              'a page of at most 4 MiB; with Accept: application/x-ndjson a stream of all items, the last line {"done":true,"count","revision"}',
            headers: { ...LIST_HEADERS, Link: { schema: string, description: 'rel="next"' } },
            content: {
              ...json(object({ items: array(item), revision, cursor: string }, ['items', 'revision'])),
              'application/x-ndjson': {},
            },
          },
          400: problem('invalid_request, invalid_cursor'),
          410: problem('history_gone, with minRevision'),
        },
      },
    },
    '/livez': {
      get: {
        tags: ['management'],
        operationId: 'livez',
        responses: { 200: { description: 'the process is well', content: json(status('live')) } },
      },
    },
    '/readyz': {
      get: {
        tags: ['management'],
        operationId: 'readyz',
        parameters: [{ ...parameter('verbose', 'list every check', string), allowEmptyValue: true }],
        responses: {
          200: { description: 'can serve', content: json(status('ready')) },
          503: { description: 'draining or unable to serve', content: json(status('not ready')) },
        },
      },
    },
    '/metrics': {
      get: {
        tags: ['management'],
        operationId: 'metrics',
        responses: { 200: { description: 'Prometheus text format', content: { 'text/plain': {} } } },
      },
    },
    '/api/v1/cluster': {
      get: {
        tags: ['management'],
        operationId: 'cluster',
        responses: {
          200: {
            description: 'nodes, partitions, leaders, lag, sizes',
            content: json(
              object({
                nodeId: { ...string, description: 'the node that answers' },
                clusterId: string,
                revision,
                nodes: array(clusterNode),
                partitions: array(clusterPartition),
              }),
            ),
          },
        },
      },
    },
    '/api/v1/compact': {
      post: {
        tags: ['management'],
        operationId: 'compact',
        responses: {
          200: {
            description: 'done',
            content: json(object({ compacted: { const: true }, durationMs: { type: 'integer' } })),
          },
        },
      },
    },
    '/openapi.json': {
      get: {
        tags: ['management'],
        operationId: 'openapi',
        responses: { 200: { description: 'this document', content: json({ type: 'object' }) } },
      },
    },
  },
  components: {
    schemas: {
      Revision: {
        type: 'integer',
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'instant of a write, and its ETag',
      },
      Problem: {
        type: 'object',
        description: 'RFC 9457, with a stable code',
        properties: { type: string, title: string, status: { type: 'integer' }, detail: string, code: string },
        required: ['type', 'title', 'status', 'detail', 'code'],
        additionalProperties: true,
      },
    },
  },
};
