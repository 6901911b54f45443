import { AlloyError, type ErrorCode } from '../util/errors.ts';
import { UsageError } from './command.ts';

/** What the exit codes of the command line mean; 0 is success, 130 is Ctrl-C. */
export const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  internal: 1,
  'bad-argument': 3,
  'bad-data': 3,
  'bad-file': 3,
  'bad-recipe': 3,
  'missing-file': 3,
  'no-access': 3,
  'no-network': 3,
  'not-finite': 3,
  unsupported: 3,
  'no-webgpu': 4,
  'device-lost': 4,
  'out-of-memory': 5,
  'disk-full': 5,
  cancelled: 130,
};
const USAGE = 2;

export function exitCode(error: unknown): number {
  if (error instanceof UsageError) return USAGE;
  if (error instanceof AlloyError) return EXIT_CODES[error.code];
  // Memory of the host: V8 and Dawn throw plain errors for arrays that they cannot have.
  if (error instanceof RangeError && /allocation|array length|buffer/iu.test(error.message))
    return EXIT_CODES['out-of-memory'];
  return EXIT_CODES.internal;
}
