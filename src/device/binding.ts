import { formatBytes } from '../util/bytes.ts';
import { AlloyError } from '../util/errors.ts';
import type { DeviceLimits } from './device.ts';
import type { DeviceBuffer } from './deviceBuffer.ts';
import type { Dispatch } from './kernel.ts';

/**
 * The buffers of a dispatch in binding order.
 * @throws AlloyError `out-of-memory` for one that is larger than a binding may be; `internal` for one that is missing, or
 *   written and bound twice
 */
export function boundBuffers(
  { kernel, buffers }: Pick<Dispatch<DeviceBuffer>, 'kernel' | 'buffers'>,
  limits: Pick<DeviceLimits, 'bindingBytes'>,
): Bound[] {
  const bound = kernel.buffers.map(({ name, writable }) => {
    const buffer = buffers[name];
    if (!buffer) throw new AlloyError('internal', `${kernel.name}: the buffer "${name}" is missing`);
    if (buffer.bytes > limits.bindingBytes) {
      throw new AlloyError(
        'out-of-memory',
        `"${buffer.label}" takes ${formatBytes(buffer.bytes)} but this adapter binds at most ${formatBytes(limits.bindingBytes)} at once; choose a smaller micro-batch or context.`,
      );
    }
    return { buffer, writable };
  });
  bound.forEach((one, index) => {
    for (const other of bound.slice(index + 1))
      if (clash(one, other)) {
        throw new AlloyError(
          'internal',
          `${kernel.name}: "${one.buffer.label}" is bound more than once and written`,
        );
      }
  });
  return bound;
}

export interface Bound {
  readonly buffer: DeviceBuffer;
  readonly writable: boolean;
}

/** WebGPU forbids reading and writing one buffer in a dispatch, and writing two ranges of it that overlap. */
function clash(a: Bound, b: Bound): boolean {
  if (a.buffer.memory !== b.buffer.memory || !(a.writable || b.writable)) return false;
  if (!(a.writable && b.writable)) return true;
  return (
    a.buffer.offset < b.buffer.offset + b.buffer.bytes && b.buffer.offset < a.buffer.offset + a.buffer.bytes
  );
}
