import type { HeldModel } from '../../../pipeline/hubModels.ts';

/** What a downloaded model is called in a list: its id, and which of its forms. */
export function heldTitle({ id, label }: Pick<HeldModel, 'id' | 'label'>): string {
  return `${id} · ${label}`;
}
