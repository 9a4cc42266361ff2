import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { CairnError } from '../../src/base/errors.js';
import { JsonScanner, jsonProblem, MAX_JSON_DEPTH, validateJson } from '../../src/codec/json-scan.js';

const RUNS = Number(process.env['CAIRN_TEST_RUNS'] ?? 1000);

function problem(text: string | Uint8Array): CairnError | null {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  return jsonProblem(bytes, 0, bytes.length);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** JSON.parse takes numbers beyond a double as infinite, and any depth; the scanner refuses both. */
function holdsUnrepresentable(value: unknown, depth = 0): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return false;
  return depth >= MAX_JSON_DEPTH || Object.values(value).some((inner) => holdsUnrepresentable(inner, depth + 1));
}

function agreesWithParse(text: string): void {
  const expected = isJson(text) && !holdsUnrepresentable(JSON.parse(text));
  assert.equal(problem(text) === null, expected, JSON.stringify(text));
}

test('every JSON value is accepted, with any white space', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom('', ' ', '\n', '\t\r\n '), (text, space) => {
      assert.equal(problem(`${space}${text}${space}`), null);
      assert.equal(problem(JSON.stringify(JSON.parse(text), null, 2)), null);
    }),
    { numRuns: RUNS },
  );
});

test('text made of pieces of JSON is accepted exactly when JSON.parse accepts it', () => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '\\u',
    '00e9',
    '\\n',
    '"a"',
    '"":',
    '-',
    '0',
    '1',
    '12',
    '.',
    '5',
    'e',
    'E',
    '+',
    'true',
    'false',
    'null',
    'nul',
    ' ',
    '\n',
    '\u00a0',
    '\ufeff',
    'é',
    '\u0000',
    '\u001f',
    '\u007f',
    '1e400',
    '-1E+999',
    '/',
    '\\/',
    "'",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => agreesWithParse(pieces.join(''))),
    { numRuns: RUNS * 10 },
  );
});

test('JSON with one character changed, dropped or doubled is accepted exactly when JSON.parse accepts it', () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 4 }),
      fc.nat(),
      fc.constantFrom('', '"', ',', '}', ']', '{', '[', '0', '-', 'e', '\\', ' '),
      fc.boolean(),
      (text, at, replacement, keep) => {
        const place = at % text.length;
        agreesWithParse(text.slice(0, place) + replacement + text.slice(keep ? place : place + 1));
      },
    ),
    { numRuns: RUNS * 5 },
  );
});

test('random bytes are accepted exactly when they are UTF-8 and JSON.parse accepts them', () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const bytes = fc.array(fc.oneof(fc.constantFrom(0x22, 0x5b, 0x5d, 0x30, 0x2c), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(bytes, fc.boolean(), (inner, quoted) => {
      const all = Uint8Array.from(quoted ? [0x22, ...inner, 0x22] : inner);
      let expected = false;
      try {
        const text = decoder.decode(all);
        expected = isJson(text) && !holdsUnrepresentable(JSON.parse(text));
      } catch {
        expected = false;
      }
      assert.equal(problem(all) === null, expected, all.toString());
    }),
    { numRuns: RUNS * 10 },
  );
});

test('UTF-8 of every code point is accepted, surrogates and overlong forms are not', () => {
  for (let code = 0x20; code <= 0x10ffff; code += code < 0x3000 ? 1 : 37) {
    if ((code >= 0xd800 && code <= 0xdfff) || code === 0x22 || code === 0x5c) continue;
    assert.equal(problem(`"${String.fromCodePoint(code)}"`), null, code.toString(16));
  }
  for (const sequence of [
    [0x80],
    [0xbf],
    [0xc0, 0x80],
    [0xc1, 0xbf],
    [0xc2],
    [0xc2, 0x20],
    [0xe0, 0x80, 0x80],
    [0xe0, 0x9f, 0xbf],
    [0xed, 0xa0, 0x80],
    [0xed, 0xbf, 0xbf],
    [0xe2, 0x82],
    [0xf0, 0x80, 0x80, 0x80],
    [0xf0, 0x8f, 0xbf, 0xbf],
    [0xf4, 0x90, 0x80, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
    [0xff],
    [0xf0, 0x9f, 0x90],
  ]) {
    const found = problem(Uint8Array.from([0x22, ...sequence, 0x22]));
    assert.match(found!.message, /^offset 1: expected valid UTF-8/, sequence.toString());
  }
});

test('escapes of lone surrogates are kept: they are valid by the grammar', () => {
  assert.equal(problem('"\\ud800"'), null);
  assert.equal(problem('"\\udc00\\ud800x"'), null);
});

test('a value may be 128 deep; 129 and 100,000 are refused without recursion', () => {
  for (const [open, close] of [
    ['[', ']'],
    ['{"a":', '}'],
    ['[{"a":', '}]'],
  ] as const) {
    const unit = open.startsWith('[{') ? 2 : 1;
    const nested = (depth: number): string => `${open.repeat(depth / unit)}1${close.repeat(depth / unit)}`;
    assert.equal(problem(nested(MAX_JSON_DEPTH)), null);
    assert.match(problem(nested(MAX_JSON_DEPTH + unit))!.message, /at most 128 nested/);
    assert.match(problem(nested(100_000))!.message, /at most 128 nested/);
    assert.match(problem(open.repeat(100_000))!.message, /at most 128 nested/);
  }
});

test('numbers that a double can hold are accepted however long they are', () => {
  const digits = '9'.repeat(308);
  for (const text of [
    digits,
    `-${digits}.${digits}`,
    '1e308',
    '1E-400',
    '0e999999',
    `0.${'0'.repeat(400)}1`,
    `1${'0'.repeat(308)}`,
  ]) {
    assert.equal(problem(text), null, text.slice(0, 20));
  }
  for (const text of ['1e400', '-1e309', `1${'0'.repeat(309)}`, '1.8e308', `${'9'.repeat(5000)}`]) {
    const found = problem(`[${text}]`)!;
    assert.match(found.message, /^offset 1: expected a number within the range of a 64-bit double, found /);
    assert.ok(found.message.length < 200);
  }
});

test('every refusal says the offset, what was expected and what was found', () => {
  for (const [text, expected] of [
    ['', 'offset 0: expected a value, found the end of the text'],
    ['{"a" 1}', "offset 5: expected ':' after a member name, found '1' (0x31)"],
    ['[1 2]', "offset 3: expected ',' or ']' after an element, found '2' (0x32)"],
    ['{"a":1,}', "offset 7: expected a member name in double quotes, found '}' (0x7d)"],
    ['"a\nb"', 'offset 2: expected an escape for a control character in a string, found byte 0x0a'],
    ['"\\x"', "offset 2: expected one of \"\\/bfnrtu after a backslash, found 'x' (0x78)"],
    ['01', "offset 1: expected the end of the text, found '1' (0x31)"],
    ['tru', 'offset 3: expected the literal true, found the end of the text'],
    ['1.', "offset 2: expected a digit after '.', found the end of the text"],
  ] as const) {
    const found = problem(text)!;
    assert.equal(found.code, 'invalid_json');
    assert.equal(found.message, expected);
    assert.equal(found.extra!['offset'], Number(/\d+/.exec(expected)![0]));
  }
});

test('offsets count from the start of the text, not of the buffer', () => {
  const bytes = new TextEncoder().encode('xxxx[1,x]yyyy');
  assert.throws(() => validateJson(bytes, 4, 9), /^CairnError: offset 3: /);
  assert.equal(jsonProblem(bytes, 5, 1), null);
});

test('members are walked with their names and the spans of their values', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 })), fc.constantFrom(0, 1), (object, indent) => {
      const text = `  ${JSON.stringify(object, null, indent)} `;
      const bytes = new TextEncoder().encode(text);
      const scanner = new JsonScanner();
      scanner.reset(bytes, 0, bytes.length);
      scanner.enterObject();
      const found: [string, unknown][] = [];
      while (scanner.nextMember()) {
        const name = scanner.name();
        scanner.value();
        found.push([name, JSON.parse(Buffer.from(bytes.subarray(scanner.valueStart, scanner.valueEnd)).toString())]);
      }
      scanner.finish();
      assert.deepEqual(found, Object.entries(JSON.parse(text) as object));
    }),
    { numRuns: RUNS },
  );
});

test('elements are walked one by one', () => {
  const bytes = new TextEncoder().encode(' [ "a" , [1] ,{} ] ');
  const scanner = new JsonScanner();
  scanner.reset(bytes, 0, bytes.length);
  scanner.enterArray();
  const found: string[] = [];
  while (scanner.nextElement()) {
    scanner.value();
    found.push(Buffer.from(bytes.subarray(scanner.valueStart, scanner.valueEnd)).toString());
  }
  scanner.finish();
  assert.deepEqual(found, ['"a"', '[1]', '{}']);
});
