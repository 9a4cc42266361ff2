import { CairnError } from '../../base/errors.js';
import { MAX_CONTENT_TYPE_BYTES } from '../../lsm/record.js';

const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
const MEDIA_TYPE = new RegExp(`^${TOKEN}/${TOKEN}[ \\t]*(?:;[\\x20-\\x7e]*)?$`);

/** True for JSON, for nothing, and for the type that plain `curl -d` sends. */
export function isJsonContentType(contentType: string): boolean {
  if (contentType === 'application/json' || contentType === '') return true;
  const semicolon = contentType.indexOf(';');
  const type = (semicolon === -1 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
  return type === 'application/json' || type === 'application/x-www-form-urlencoded' || type === '';
}

/** The type of a raw value, which is given back as it came. Throws `unsupported_media_type`. */
export function checkRawContentType(contentType: string): void {
  if (contentType.length > MAX_CONTENT_TYPE_BYTES || !MEDIA_TYPE.test(contentType)) {
    throw new CairnError(
      'unsupported_media_type',
      `Content-Type: expected type/subtype in at most ${MAX_CONTENT_TYPE_BYTES} ASCII characters, found ${JSON.stringify(contentType.slice(0, 80))}`,
    );
  }
}

/** For the calls whose body can only be JSON. */
export function requireJson(contentType: string): void {
  if (!isJsonContentType(contentType)) {
    throw new CairnError('unsupported_media_type', `Content-Type: expected application/json, found "${contentType}"`);
  }
}
