/** Where messages go. The composition root gives pino; tests give a silent or collecting one. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export type LogFields = Readonly<Record<string, unknown>>;

export const SILENT_LOGGER: Logger = { debug() {}, info() {}, warn() {}, error() {} };
