import { formatBytes } from '../../util/bytes.ts';
import { AlloyError } from '../../util/errors.ts';
import { type HubRecord, pinnedText } from './records.ts';

/** A model in the cache that could be deleted. */
export interface HeldContent {
  readonly reference: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
}

/**
 * A storage that is full, with the models that could make room.
 * @param others the longest unused first
 */
export function noSpace(record: HubRecord, others: readonly HeldContent[], cause: AlloyError): AlloyError {
  const lines = others
    .filter(({ bytes }) => bytes > 0)
    .map(
      ({ reference, bytes, usedAt }) => `${reference} (${formatBytes(bytes)}, last used ${dayText(usedAt)})`,
    );
  const why = / are free$/u.test(cause.message)
    ? cause.message
    : `the storage took no more (${cause.message.replace(/;.*$/u, '')})`;
  const advice =
    lines.length > 0
      ? `delete models that are not needed, the longest unused first: ${lines.join(', ')}`
      : 'no other model is kept that could be deleted; free space elsewhere';
  return new AlloyError(
    'disk-full',
    `There is no space for ${record.id} (${formatBytes(record.bytes)}): ${why}. What has come is kept; ${advice}, then start it again to go on.`,
    { cause },
  );
}

/** A model that is not complete, where nothing may be fetched. */
export function notHere(record: HubRecord): AlloyError {
  return new AlloyError(
    'missing-file',
    `${pinnedText(record)} is not completely on this machine, and nothing may be fetched offline; get it while online first.`,
  );
}

/** A revision that nobody asked for, where nothing may be fetched. */
export function notKnown(id: string, revision: string): AlloyError {
  return new AlloyError(
    'missing-file',
    `${id} at ${revision} was never got on this machine, and nothing may be fetched offline; get it while online first.`,
  );
}

/** `2026-05-01` */
function dayText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
