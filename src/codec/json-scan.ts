import { CairnError } from '../base/errors.js';

/** Nesting of arrays and objects that a value may have; `[]` has depth 1. */
export const MAX_JSON_DEPTH = 128;

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const IN_ARRAY = 0;
const IN_OBJECT = 1;

/** 0: a byte that stands for itself in a string; 1: needs a look (quote, backslash, control, not ASCII). */
const SPECIAL_IN_STRING = new Uint8Array(256);
SPECIAL_IN_STRING.fill(1, 0, 0x20);
SPECIAL_IN_STRING.fill(1, 0x80);
SPECIAL_IN_STRING[QUOTE] = 1;
SPECIAL_IN_STRING[BACKSLASH] = 1;

/** A double holds every integer part of up to 308 digits, so only longer ones and exponents need a closer look. */
const SAFE_INTEGER_DIGITS = 308;

const ASCII = new TextDecoder('latin1');

/**
 * Walks over JSON text (RFC 8259) in one pass, without recursion and without building values, and refuses what is not JSON:
 * also bytes that are not UTF-8, nesting deeper than 128, and numbers that no double can hold (1e400). An escape of a lone
 * surrogate ("\ud800") is valid by the grammar and kept. Every refusal is an `invalid_json` that says the offset from
 * the start of the text, what was expected and what was found.
 *
 * Usage: `reset`, then either `value()` or `enterObject()` + `nextMember()` + `value()`..., then `finish()`.
 * One instance serves any number of texts, one at a time.
 */
export class JsonScanner {
  /** The span of the last value, without white space around it. */
  valueStart = 0;
  valueEnd = 0;
  /** The span of the last member's name, without its quotes. */
  nameStart = 0;
  nameEnd = 0;
  /** The name holds escapes, so its bytes are not its text. */
  nameIsEscaped = false;

  #bytes: Uint8Array = new Uint8Array(0);
  #textStart = 0;
  #end = 0;
  #at = 0;
  #first = true;
  #sawEscape = false;
  readonly #containers = new Uint8Array(MAX_JSON_DEPTH + 1);

  reset(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#textStart = start;
    this.#end = end;
    this.#at = start;
  }

  /** Forgets the text, so that it can be collected. */
  release(): void {
    this.#bytes = EMPTY;
  }

  /** Steps into an object that stands where a value is expected. */
  enterObject(): void {
    this.#enter(OPEN_BRACE, 'an object');
  }

  enterArray(): void {
    this.#enter(OPEN_BRACKET, 'an array');
  }

  /** True: at the value of a member whose name is in `nameStart`, `nameEnd`. False: the object has ended. */
  nextMember(): boolean {
    let at = this.#skipWhiteSpace(this.#at);
    if (!this.#first || this.#byte(at) === CLOSE_BRACE) {
      const byte = this.#byte(at);
      if (byte === CLOSE_BRACE) {
        this.#at = at + 1;
        this.#first = false;
        return false;
      }
      if (byte !== COMMA) this.#refuse(at, "',' or '}' after a member");
      at = this.#skipWhiteSpace(at + 1);
    }
    this.#first = false;
    this.#at = this.#memberName(at);
    return true;
  }

  /** True: at an element. False: the array has ended. */
  nextElement(): boolean {
    const at = this.#skipWhiteSpace(this.#at);
    const byte = this.#byte(at);
    if (byte === CLOSE_BRACKET) {
      this.#at = at + 1;
      this.#first = false;
      return false;
    }
    if (this.#first) {
      this.#first = false;
      return true;
    }
    if (byte !== COMMA) this.#refuse(at, "',' or ']' after an element");
    this.#at = at + 1;
    return true;
  }

  /** The text must end here. */
  finish(): void {
    const at = this.#skipWhiteSpace(this.#at);
    if (at !== this.#end) this.#refuse(at, 'the end of the text');
  }

  /** The last member's name as text. */
  name(): string {
    if (!this.nameIsEscaped) {
      return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength).toString(
        'utf8',
        this.nameStart,
        this.nameEnd,
      );
    }
    return this.stringAt(this.nameStart - 1, this.nameEnd + 1);
  }

  /** The text of a string that has been scanned, given its span with the quotes. */
  stringAt(start: number, end: number): string {
    const view = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    return JSON.parse(view.toString('utf8', start, end)) as string;
  }

  /** Steps over one value of any kind and leaves its span in `valueStart`, `valueEnd`. */
  value(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    const containers = this.#containers;
    let at = this.#skipWhiteSpace(this.#at);
    let depth = 0;
    this.valueStart = at;
    for (;;) {
      // Here a value begins.
      const byte = at < end ? bytes[at]! : -1;
      if (byte === QUOTE) {
        at = this.#string(at + 1);
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (++depth > MAX_JSON_DEPTH)
          this.#refuse(at, `at most ${MAX_JSON_DEPTH} nested arrays and objects`, 'one more');
        at = this.#skipWhiteSpace(at + 1);
        if (byte === OPEN_BRACE) {
          containers[depth] = IN_OBJECT;
          if (this.#byte(at) !== CLOSE_BRACE) {
            at = this.#nestedName(at);
            continue;
          }
        } else {
          containers[depth] = IN_ARRAY;
          if (this.#byte(at) !== CLOSE_BRACKET) continue;
        }
        depth--;
        at++;
      } else if (byte === MINUS || (byte >= ZERO && byte <= NINE)) {
        at = this.#number(at);
      } else {
        at = this.#literal(at, byte);
      }
      // Here a value has ended.
      for (;;) {
        if (depth === 0) {
          this.valueEnd = at;
          this.#at = at;
          return;
        }
        at = this.#skipWhiteSpace(at);
        const next = at < end ? bytes[at]! : -1;
        if (containers[depth] === IN_OBJECT) {
          if (next === COMMA) {
            at = this.#nestedName(this.#skipWhiteSpace(at + 1));
            break;
          }
          if (next !== CLOSE_BRACE) this.#refuse(at, "',' or '}' after a member");
        } else {
          if (next === COMMA) {
            at = this.#skipWhiteSpace(at + 1);
            break;
          }
          if (next !== CLOSE_BRACKET) this.#refuse(at, "',' or ']' after an element");
        }
        depth--;
        at++;
      }
    }
  }

  #enter(bracket: number, what: string): void {
    const at = this.#skipWhiteSpace(this.#at);
    if (this.#byte(at) !== bracket) this.#refuse(at, what);
    this.#at = at + 1;
    this.#first = true;
  }

  #byte(at: number): number {
    return at < this.#end ? this.#bytes[at]! : -1;
  }

  #skipWhiteSpace(from: number): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = from;
    while (at < end) {
      const byte = bytes[at]!;
      if (byte > SPACE || (byte !== SPACE && byte !== LINE_FEED && byte !== CARRIAGE_RETURN && byte !== TAB)) break;
      at++;
    }
    return at;
  }

  /** A member's name and its colon, with the name's span kept. Returns the offset after the colon. */
  #memberName(at: number): number {
    if (this.#byte(at) !== QUOTE) this.#refuse(at, 'a member name in double quotes');
    this.#sawEscape = false;
    const after = this.#string(at + 1);
    this.nameStart = at + 1;
    this.nameEnd = after - 1;
    this.nameIsEscaped = this.#sawEscape;
    const colon = this.#skipWhiteSpace(after);
    if (this.#byte(colon) !== COLON) this.#refuse(colon, "':' after a member name");
    return colon + 1;
  }

  /** A member's name and its colon; returns the offset of the value. */
  #nestedName(at: number): number {
    if (this.#byte(at) !== QUOTE) this.#refuse(at, 'a member name in double quotes');
    const colon = this.#skipWhiteSpace(this.#string(at + 1));
    if (this.#byte(colon) !== COLON) this.#refuse(colon, "':' after a member name");
    return this.#skipWhiteSpace(colon + 1);
  }

  /** From the byte after the opening quote; returns the offset after the closing one. */
  #string(from: number): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = from;
    for (;;) {
      while (at < end && SPECIAL_IN_STRING[bytes[at]!] === 0) at++;
      if (at >= end) this.#refuse(at, "'\"' at the end of a string");
      const byte = bytes[at]!;
      if (byte === QUOTE) return at + 1;
      if (byte === BACKSLASH) {
        this.#sawEscape = true;
        at = this.#escape(at + 1);
      } else if (byte < SPACE) {
        this.#refuse(at, 'an escape for a control character in a string');
      } else {
        at = this.#utf8(at, byte);
      }
    }
  }

  /** From the byte after the backslash. */
  #escape(at: number): number {
    switch (this.#byte(at)) {
      case QUOTE:
      case BACKSLASH:
      case 0x2f: // slash
      case 0x62: // b
      case 0x66: // f
      case 0x6e: // n
      case 0x72: // r
      case 0x74: // t
        return at + 1;
      case 0x75: // u
        for (let i = 1; i <= 4; i++) {
          if (!isHexDigit(this.#byte(at + i))) this.#refuse(at + i, 'four hexadecimal digits after \\u');
        }
        return at + 5;
      default:
        return this.#refuse(at, 'one of "\\/bfnrtu after a backslash');
    }
  }

  /** One character of two to four bytes: shortest form, no surrogates, at most U+10FFFF (RFC 3629). */
  #utf8(at: number, lead: number): number {
    const second = this.#byte(at + 1);
    if (lead >= 0xc2 && lead <= 0xdf) {
      if (isContinuation(second)) return at + 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      const least = lead === 0xe0 ? 0xa0 : 0x80;
      const most = lead === 0xed ? 0x9f : 0xbf;
      if (second >= least && second <= most && isContinuation(this.#byte(at + 2))) return at + 3;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      const least = lead === 0xf0 ? 0x90 : 0x80;
      const most = lead === 0xf4 ? 0x8f : 0xbf;
      if (
        second >= least &&
        second <= most &&
        isContinuation(this.#byte(at + 2)) &&
        isContinuation(this.#byte(at + 3))
      ) {
        return at + 4;
      }
    }
    return this.#refuse(at, 'valid UTF-8');
  }

  #number(from: number): number {
    let at = from;
    if (this.#byte(at) === MINUS) at++;
    const integerStart = at;
    if (this.#byte(at) === ZERO) at++;
    else at = this.#digits(at, 'a digit');
    let closeLook = at - integerStart > SAFE_INTEGER_DIGITS;
    if (this.#byte(at) === POINT) at = this.#digits(at + 1, "a digit after '.'");
    const byte = this.#byte(at);
    if (byte === 0x65 || byte === 0x45) {
      closeLook = true;
      const sign = this.#byte(at + 1);
      at = this.#digits(sign === PLUS || sign === MINUS ? at + 2 : at + 1, 'a digit in the exponent');
    }
    if (closeLook) {
      const text = ASCII.decode(this.#bytes.subarray(from, at));
      if (!Number.isFinite(Number(text))) {
        const found = text.length > 40 ? `${text.slice(0, 40)}... (${text.length} characters)` : text;
        this.#refuse(from, 'a number within the range of a 64-bit double', found);
      }
    }
    return at;
  }

  /** At least one digit. */
  #digits(from: number, expected: string): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = from;
    while (at < end) {
      const byte = bytes[at]!;
      if (byte < ZERO || byte > NINE) break;
      at++;
    }
    if (at === from) this.#refuse(at, expected);
    return at;
  }

  #literal(at: number, byte: number): number {
    const word = byte === 0x74 ? 'true' : byte === 0x66 ? 'false' : byte === 0x6e ? 'null' : '';
    if (word === '') return this.#refuse(at, 'a value');
    for (let i = 1; i < word.length; i++) {
      if (this.#byte(at + i) !== word.charCodeAt(i)) this.#refuse(at + i, `the literal ${word}`);
    }
    return at + word.length;
  }

  #refuse(at: number, expected: string, found?: string): never {
    const offset = at - this.#textStart;
    const what = found ?? describeByte(this.#byte(at));
    throw new CairnError('invalid_json', `offset ${offset}: expected ${expected}, found ${what}`, {
      extra: { offset },
    });
  }
}

const EMPTY = new Uint8Array(0);
const SHARED_SCANNER = new JsonScanner();

/** Throws `invalid_json` unless the range is exactly one JSON value, with or without white space around it. */
export function validateJson(bytes: Uint8Array, start: number, end: number): void {
  SHARED_SCANNER.reset(bytes, start, end);
  SHARED_SCANNER.value();
  SHARED_SCANNER.finish();
  SHARED_SCANNER.release();
}

/** The error that `validateJson` would throw, or null. */
export function jsonProblem(bytes: Uint8Array, start: number, length: number): CairnError | null {
  try {
    validateJson(bytes, start, start + length);
    return null;
  } catch (error) {
    if (error instanceof CairnError) return error;
    throw error;
  }
}

function isContinuation(byte: number): boolean {
  return byte >= 0x80 && byte <= 0xbf;
}

function isHexDigit(byte: number): boolean {
  return (byte >= ZERO && byte <= NINE) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

function describeByte(byte: number): string {
  if (byte === -1) return 'the end of the text';
  const hex = `0x${byte.toString(16).padStart(2, '0')}`;
  return byte > SPACE && byte < 0x7f ? `'${String.fromCharCode(byte)}' (${hex})` : `byte ${hex}`;
}
