import { releaseProxy } from 'comlink';
import type { Engine } from './protocol.ts';

/**
 * An engine whose callbacks come from the page: a call ends only when the page has taken the last message of its callback,
 * and then lets the callback's channel go. Messages of two channels may otherwise overtake each other.
 */
export function crossing(engine: Engine): Engine {
  return new Proxy(engine, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== 'function') return method;
      return async (...values: unknown[]) => {
        const callbacks: Callback[] = [];
        const passed = values.map((value) => {
          if (typeof value !== 'function') return value;
          const callback = new Callback(value as Remote);
          callbacks.push(callback);
          return callback.call;
        });
        try {
          return await method.apply(target, passed);
        } finally {
          for (const callback of callbacks) await callback.end();
        }
      };
    },
  });
}

type Remote = ((value: unknown) => unknown) & { [releaseProxy]?: () => void };

class Callback {
  readonly call: (value: unknown) => void;
  readonly #remote: Remote;
  #last: Promise<unknown> = Promise.resolve();

  constructor(remote: Remote) {
    this.#remote = remote;
    this.call = (value) => {
      // What the page's function throws is the page's affair.
      this.#last = Promise.resolve(remote(value)).catch(() => undefined);
    };
  }

  async end(): Promise<void> {
    await this.#last;
    this.#remote[releaseProxy]?.();
  }
}
