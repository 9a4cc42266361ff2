/** One string literal in code. */
export interface Literal {
  readonly text: string;
  /** Where its opening quote stands. */
  readonly at: number;
}

export interface Scan {
  /** The source with comments, strings and the fixed parts of templates blanked: same length, same line breaks. */
  readonly code: string;
  readonly literals: readonly Literal[];
}

// A slash after one of these starts a regular expression, after anything else it divides.
const BEFORE_REGEXP =
  /(?:[([{,;:=!&|?+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|throw|await|yield|void|delete))\s*$/;

/** Separates code from comments and strings. TypeScript 7 offers no parser to JavaScript, and these rules need no more. */
export function scan(source: string): Scan {
  const literals: Literal[] = [];
  let code = '';
  // For each open template the depth of braces inside its current ${...}.
  const templates: number[] = [];
  let at = 0;

  const blank = (end: number): void => {
    code += source.slice(at, end).replace(/[^\n]/g, ' ');
    at = end;
  };
  const endOfQuoted = (quote: string, from: number): number => {
    for (let i = from; i < source.length; i++) {
      if (source[i] === '\\') i++;
      else if (source[i] === quote || (quote !== '`' && source[i] === '\n')) return i + 1;
      else if (quote === '`' && source.startsWith('${', i)) return i + 2;
    }
    return source.length;
  };
  const template = (from: number): void => {
    const end = endOfQuoted('`', from);
    const inner = source[end - 1] === '{' && source[end - 2] === '$';
    if (!inner) literals.push({ text: source.slice(from, end - 1), at });
    blank(end);
    if (inner) templates.push(0);
  };

  while (at < source.length) {
    const char = source.charAt(at);
    const two = source.slice(at, at + 2);
    if (two === '//') blank(endOr(source.indexOf('\n', at), source.length));
    else if (two === '/*') blank(endOr(source.indexOf('*/', at + 2) + 2, source.length, 1));
    else if (char === "'" || char === '"') {
      const end = endOfQuoted(char, at + 1);
      literals.push({ text: source.slice(at + 1, end - 1), at });
      blank(end);
    } else if (char === '`') template(at + 1);
    else if (char === '/' && BEFORE_REGEXP.test(code.slice(-40))) blank(endOfRegExp(source, at));
    else {
      const open = templates.length - 1;
      if (open >= 0 && char === '}' && templates[open] === 0) {
        templates.pop();
        template(at + 1);
        continue;
      }
      if (open >= 0 && char === '{') templates[open] = (templates[open] ?? 0) + 1;
      if (open >= 0 && char === '}') templates[open] = (templates[open] ?? 0) - 1;
      code += char;
      at++;
    }
  }
  return { code, literals };
}

function endOr(end: number, otherwise: number, none = -1): number {
  return end === none ? otherwise : end;
}

function endOfRegExp(source: string, start: number): number {
  let inClass = false;
  for (let i = start + 1; i < source.length; i++) {
    const char = source[i];
    if (char === '\\') i++;
    else if (char === '[') inClass = true;
    else if (char === ']') inClass = false;
    else if (char === '\n' || (char === '/' && !inClass)) return i + 1;
  }
  return source.length;
}

/** The line, counted from 1, of an offset. */
export function lineOf(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length;
}
