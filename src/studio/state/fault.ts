import type { ErrorCode } from '../../util/errors.ts';

/** An error as the page shows it: a code to act on and one sentence to read. */
export interface Fault {
  readonly code: ErrorCode;
  readonly message: string;
  /** More for a report: the stack of an error nobody expected. */
  readonly detail?: string;
}

/** Every code there is; a new one that is not here does not compile. */
const codes = {
  'bad-file': true,
  'bad-recipe': true,
  'bad-data': true,
  'bad-argument': true,
  'not-finite': true,
  'missing-file': true,
  unsupported: true,
  'disk-full': true,
  'no-network': true,
  'no-access': true,
  'no-webgpu': true,
  'out-of-memory': true,
  'device-lost': true,
  cancelled: true,
  internal: true,
} satisfies Record<ErrorCode, true>;

/** Reads whatever was thrown, here or in the worker (where classes do not survive the crossing). */
export function toFault(thrown: unknown): Fault {
  if (typeof thrown === 'object' && thrown !== null && 'message' in thrown) {
    const message = String(thrown.message);
    const code =
      'code' in thrown && Object.hasOwn(codes, String(thrown.code)) ? (thrown.code as ErrorCode) : 'internal';
    const stack = 'stack' in thrown && typeof thrown.stack === 'string' ? thrown.stack : undefined;
    return code === 'internal' && stack ? { code, message, detail: stack } : { code, message };
  }
  return { code: 'internal', message: String(thrown) };
}
