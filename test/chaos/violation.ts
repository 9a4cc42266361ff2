/** Something that the product promises did not hold. */
export class ChaosViolation extends Error {
  override readonly name = 'ChaosViolation';
  /** The file with what clients asked for and were told. */
  readonly historyFile: string | null;

  constructor(message: string, historyFile: string | null = null) {
    super(message);
    this.historyFile = historyFile;
  }
}
