/*
 * What is asked of an engine, wherever it runs: in a process of its own, or in a page. It answers one request at a time.
 */
import type { DecodeCase, LoraCase } from './decodeCase.ts';
import type { BenchEngine, BestToken, DecodeRunner, MatmulCase, MatmulRunner, Stepper } from './engine.ts';
import type { TrainCase } from './trainCase.ts';
import type { KernelTime } from './watch.ts';

export type Request =
  | { readonly kind: 'open' }
  | { readonly kind: 'openStep'; readonly trainCase: TrainCase }
  | { readonly kind: 'openLora'; readonly loraCase: LoraCase }
  | { readonly kind: 'openForward'; readonly decodeCase: DecodeCase }
  | { readonly kind: 'step' }
  | { readonly kind: 'openDecode'; readonly decodeCase: DecodeCase }
  | { readonly kind: 'decode'; readonly count: number }
  | { readonly kind: 'profile' }
  | { readonly kind: 'openMatmul'; readonly matmulCase: MatmulCase }
  | { readonly kind: 'run'; readonly count: number };

export interface Reply {
  readonly error?: string;
  readonly ms: number;
  /** `open` */
  readonly version?: string;
  /** `step` */
  readonly loss?: number;
  readonly counts?: Readonly<Record<string, number>>;
  /** `openDecode` */
  readonly best?: readonly BestToken[];
  readonly rounded?: boolean;
  /** `decode` */
  readonly ids?: readonly number[];
  /** `profile` */
  readonly kernels?: readonly KernelTime[];
  /** `openMatmul`: the first row of the product. */
  readonly row?: readonly number[];
}

/** An engine elsewhere, as those that measure see it. */
export interface AskedEngine {
  readonly name: string;
  /** Sends one request and waits for the answer; rejects when the engine fails or is gone. */
  ask(request: Request): Promise<Reply>;
  close(): void;
}

/** Answers requests with the engine that `open` opens; what goes wrong is in the answer. */
export function answering(open: () => Promise<BenchEngine>): (request: Request) => Promise<Reply> {
  let engine: BenchEngine | undefined;
  let stepper: Stepper | undefined;
  let runner: MatmulRunner | undefined;
  let decoder: DecodeRunner | undefined;

  async function handle(request: Request): Promise<Omit<Reply, 'ms'>> {
    switch (request.kind) {
      case 'open':
        engine = await open();
        return { version: engine.version };
      case 'openStep':
        stepper = await engine?.openStep?.(request.trainCase);
        return {};
      case 'openLora':
        stepper = await engine?.openLora?.(request.loraCase);
        return {};
      case 'openForward':
        stepper = await engine?.openForward?.(request.decodeCase);
        return {};
      case 'openDecode':
        decoder = await engine?.openDecode?.(request.decodeCase);
        return { best: decoder?.best ?? [], rounded: decoder?.rounded ?? false };
      case 'decode':
        if (!decoder) throw new Error('it does not generate');
        return { ids: await decoder.decode(request.count) };
      case 'profile':
        return { kernels: (await engine?.profile?.()) ?? [] };
      case 'step': {
        if (!stepper) throw new Error('it has no train step');
        const loss = await stepper.step();
        return { loss, ...(stepper.counts ? { counts: stepper.counts } : {}) };
      }
      case 'openMatmul':
        runner = await engine?.openMatmul?.(request.matmulCase);
        return { row: [...((await runner?.firstRow()) ?? [])] };
      case 'run':
        if (!runner) throw new Error('it has no matrix product');
        await runner.run(request.count);
        return {};
      default:
        return request satisfies never;
    }
  }

  return async (request) => {
    const started = performance.now();
    const reply = await handle(request).catch((error: unknown) => ({
      error: error instanceof Error ? error.message : String(error),
    }));
    return { ...reply, ms: performance.now() - started };
  };
}
