import { isUtf8 } from 'node:buffer';
import type { ScanItem, StoredVersion } from '../service.js';
import type { ByteWriter } from './byte-writer.js';
import { isoTime } from './version-answer.js';

/** `"value":...,"revision":n[,"expiresAt":...]`; a raw value as `"valueBase64","contentType"`. */
export function writeVersionMembers(writer: ByteWriter, version: StoredVersion): void {
  if (version.contentType === '') {
    writer.ascii('"value":');
    writer.bytes(version.value, 0, version.value.length);
  } else {
    writer.ascii('"valueBase64":"');
    writer.ascii(asBuffer(version.value).toString('base64'));
    writer.ascii(`","contentType":${JSON.stringify(version.contentType)}`);
  }
  writeRevisionMembers(writer, version);
}

/** One item of a range, as an object. */
export function writeListItem(writer: ByteWriter, item: ScanItem, keysOnly: boolean): void {
  if (isUtf8(item.key)) {
    writer.ascii('{"key":');
    writer.utf8(JSON.stringify(asBuffer(item.key).toString()));
  } else {
    writer.ascii('{"keyBase64":"');
    writer.ascii(asBuffer(item.key).toString('base64'));
    writer.ascii('"');
  }
  if (keysOnly) {
    writeRevisionMembers(writer, item);
  } else {
    writer.ascii(',');
    writeVersionMembers(writer, item);
  }
  writer.ascii('}');
}

function writeRevisionMembers(writer: ByteWriter, version: StoredVersion): void {
  writer.ascii(',"revision":');
  writer.integer(version.revision);
  if (version.expiresAtMs !== 0) writer.ascii(`,"expiresAt":"${isoTime(version.expiresAtMs)}"`);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
