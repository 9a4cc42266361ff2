/** A safety property was broken; `rule` names it. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
  readonly rule: string;

  constructor(rule: string, message: string) {
    super(`${rule}: ${message}`);
    this.rule = rule;
  }
}
