import { create } from 'zustand';
import type { Fault } from './fault.ts';
import { toFault } from './fault.ts';

export interface Notice {
  readonly id: number;
  readonly kind: 'error' | 'warning' | 'info';
  readonly title: string;
  readonly message: string;
  readonly detail?: string;
  /** One best thing to do. */
  readonly action?: { readonly label: string; readonly run: () => void };
}

interface NoticesState {
  readonly notices: readonly Notice[];
}

/** Errors and warnings, newest last; they stay until a person dismisses them. */
export const useNotices = create<NoticesState>()(() => ({ notices: [] }));

let nextId = 1;

/** Shows a notice; an equal one that is still open is not repeated. */
export function notify(notice: Omit<Notice, 'id'>): void {
  const { notices } = useNotices.getState();
  if (notices.some((other) => other.title === notice.title && other.message === notice.message)) return;
  useNotices.setState({ notices: [...notices, { ...notice, id: nextId++ }] });
}

/** Turns a rejected call into a notice; a cancelled one is what the person asked for and says nothing. */
export function notifyFault(title: string, thrown: unknown): Fault {
  const fault = toFault(thrown);
  if (fault.code !== 'cancelled') {
    const { message, detail } = fault;
    notify({ kind: 'error', title, message, ...(detail === undefined ? {} : { detail }) });
  }
  return fault;
}

export function dismissNotice(id: number): void {
  useNotices.setState(({ notices }) => ({ notices: notices.filter((notice) => notice.id !== id) }));
}
