/** What went wrong, as a word that the studio can translate and the command line can map to an exit code. */
export type ErrorCode =
  | 'bad-file'
  | 'bad-recipe'
  | 'bad-data'
  | 'bad-argument'
  | 'not-finite'
  | 'missing-file'
  | 'unsupported'
  | 'disk-full'
  | 'no-network'
  | 'no-access'
  | 'no-webgpu'
  | 'out-of-memory'
  | 'device-lost'
  | 'cancelled'
  | 'internal';

/** An error a person can act on: one sentence that names the file and the field and says what to do. */
export class AlloyError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AlloyError';
    this.code = code;
  }
}

/** Narrows an array access that cannot fail by construction; throws `internal` when it does. */
export function required<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new AlloyError('internal', `${what} is missing`);
  return value;
}
