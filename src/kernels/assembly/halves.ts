import { endElement, firstElement } from './lib/elements';
import { half1, halves4 } from './lib/halves';
import { address, whole } from './lib/slots';

/** Slots: x, y; count. Pieces: blocks of elements. */
export function halvesWiden(slots: usize, from: u32, to: u32): void {
  const x = address(slots, 0);
  const y = address(slots, 1);
  const end = endElement(to, whole(slots, 2));
  let i = firstElement(from);
  for (; i + 4 <= end; i += 4) {
    v128.store(y + (i << 2), halves4(i32x4.extend_low_i16x8_u(v128.load64_zero(x + (i << 1)))));
  }
  for (; i < end; i++) store<f32>(y + (i << 2), half1(load<u16>(x + (i << 1))));
}
