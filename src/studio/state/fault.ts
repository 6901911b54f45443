import type { ErrorCode } from '../../util/errors.ts';

/** An error as the page shows it: a code to act on and one sentence to read. */
export interface Fault {
  readonly code: ErrorCode;
  readonly message: string;
  /** More for a report: the stack of an error nobody expected. */
  readonly detail?: string;
}

const codes: ReadonlySet<string> = new Set<ErrorCode>([
  'bad-file',
  'bad-recipe',
  'bad-data',
  'bad-argument',
  'missing-file',
  'unsupported',
  'disk-full',
  'no-network',
  'no-access',
  'no-webgpu',
  'out-of-memory',
  'device-lost',
  'cancelled',
  'internal',
]);

/** Reads whatever was thrown, here or in the worker (where classes do not survive the crossing). */
export function toFault(thrown: unknown): Fault {
  if (typeof thrown === 'object' && thrown !== null && 'message' in thrown) {
    const message = String(thrown.message);
    const code = 'code' in thrown && codes.has(String(thrown.code)) ? (thrown.code as ErrorCode) : 'internal';
    const stack = 'stack' in thrown && typeof thrown.stack === 'string' ? thrown.stack : undefined;
    return code === 'internal' && stack ? { code, message, detail: stack } : { code, message };
  }
  return { code: 'internal', message: String(thrown) };
}
