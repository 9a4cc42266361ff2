/** Thrown by blocking calls on a disk that was switched off. Code under test never catches it to go on. */
export class PowerLoss extends Error {
  override readonly name = 'PowerLoss';

  constructor() {
    super('the simulated machine is off');
  }
}
