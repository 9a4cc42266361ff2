import { CairnError } from '../../base/errors.js';
import type { HttpRequest } from './uws.js';

/**
 * The headers that this server acts on, read in one pass, so that a repeated Content-Length is seen as well (a request
 * that two servers could cut at different places is refused, RFC 9112 section 6.3). One instance serves one request after the other.
 */
export class RequestHeaders {
  contentType = '';
  /** -1 when there is none. */
  contentLength = -1;
  ifMatch = '';
  ifNoneMatch = '';
  idempotencyKey = '';
  #contentLengthText = '';
  #conflict = '';

  /** Throws `invalid_request` when the framing of the body is in doubt; the caller closes the connection then. */
  read(request: HttpRequest): void {
    this.contentType = '';
    this.contentLength = -1;
    this.ifMatch = '';
    this.ifNoneMatch = '';
    this.idempotencyKey = '';
    this.#contentLengthText = '';
    this.#conflict = '';
    request.forEach(this.#take);
    if (this.#contentLengthText !== '') this.contentLength = Number(this.#contentLengthText);
    if (this.#conflict !== '') throw new CairnError('invalid_request', this.#conflict);
  }

  readonly #take = (name: string, value: string): void => {
    switch (name) {
      case 'content-type':
        this.contentType = value;
        break;
      case 'content-length':
        if (this.#contentLengthText !== '') this.#conflict = 'expected one Content-Length, found several';
        if (!/^\d{1,15}$/.test(value)) this.#conflict = `Content-Length: expected a number, found "${value}"`;
        this.#contentLengthText = value;
        break;
      case 'transfer-encoding':
        if (value.toLowerCase() !== 'chunked') {
          this.#conflict = `Transfer-Encoding: expected "chunked", found "${value}"`;
        }
        break;
      case 'if-match':
        this.ifMatch = this.ifMatch === '' ? value : `${this.ifMatch}, ${value}`;
        break;
      case 'if-none-match':
        this.ifNoneMatch = this.ifNoneMatch === '' ? value : `${this.ifNoneMatch}, ${value}`;
        break;
      case 'idempotency-key':
        this.idempotencyKey = value;
        break;
      default:
    }
  };
}
