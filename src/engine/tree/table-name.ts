/** The file of a table within the directory of tables. */
export function tableName(fileNumber: number): string {
  return `${String(fileNumber).padStart(6, '0')}.sst`;
}

/** The number in a table's file name, or null for any other name. */
export function parseTableName(name: string): number | null {
  const match = /^([0-9]{6,15})\.sst$/.exec(name);
  return match === null ? null : Number(match[1]);
}
