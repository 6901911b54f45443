/**
 * The page's end of the worker. Calls that are open when the worker dies are rejected instead of waiting for ever.
 */
import { proxy, type Remote, wrap } from 'comlink';
import type { Engine } from '../../pipeline/protocol.ts';
import { AlloyError } from '../../util/errors.ts';

let current: Engine | undefined;

/** The connected engine. @throws AlloyError `internal` before `connect` or `setEngine`. */
export function engine(): Engine {
  if (!current) throw new AlloyError('internal', 'The engine was called before it was connected.');
  return current;
}

/** Puts another engine in place of the worker: tests and the development double. */
export function setEngine(replacement: Engine): void {
  current = replacement;
}

/** Starts the worker, or in development builds the double that `?engine=fake` asks for. */
export async function connect(): Promise<void> {
  if (import.meta.env.DEV) {
    const query = new URLSearchParams(globalThis.location?.search ?? '');
    if (query.get('engine') === 'fake') {
      const { createFakeEngine, scenarioFrom } = await import('../testing/fakeEngine.ts');
      current = createFakeEngine(scenarioFrom(query));
      return;
    }
  }
  const worker = new Worker(new URL('../../pipeline/worker.ts', import.meta.url), { type: 'module' });
  current = engineOver(worker);
}

type Reject = (reason: unknown) => void;

/** Wraps functions among the arguments for the crossing, and ties every call to the worker's life. */
function engineOver(worker: Worker): Engine {
  const remote: Remote<Engine> = wrap<Engine>(worker);
  const open = new Set<Reject>();
  let dead: AlloyError | undefined;
  const fail = (reason: string) => {
    dead = new AlloyError('internal', `The engine stopped (${reason}); reload the page to start it again.`);
    for (const reject of open) reject(dead);
    open.clear();
  };
  worker.addEventListener('error', (event) => fail(event.message || 'its script could not be loaded'));
  worker.addEventListener('messageerror', () => fail('a message could not be read'));

  return new Proxy({} as Engine, {
    get(_, name) {
      if (typeof name !== 'string' || name === 'then') return undefined;
      const method = Reflect.get(remote, name) as (...values: unknown[]) => Promise<unknown>;
      return (...values: unknown[]) =>
        new Promise((resolve, reject) => {
          if (dead) return reject(dead);
          open.add(reject);
          const crossing = values.map((value) => (typeof value === 'function' ? proxy(value) : value));
          method(...crossing)
            .then(resolve, reject)
            .finally(() => open.delete(reject));
        });
    },
  });
}
