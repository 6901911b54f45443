import type { DecodeCase } from './decodeCase.ts';
import type { BestToken } from './engine.ts';
import type { Failure, Suite } from './measure.ts';
import type { AskedEngine } from './requests.ts';

export interface DecodeResult {
  readonly engine: string;
  /** Reading the prompt, with loading and compiling. */
  readonly firstMs: number;
  readonly msPerToken: number;
  readonly tokensPerSecond: number;
}

/** Logits after the prompt may differ by this much between engines. */
const LOGIT_TOLERANCE = 5e-3;
const ROUNDS = 4;

function differ(a: readonly BestToken[], b: readonly BestToken[]): boolean {
  return (
    a.some(({ below }, at) => !(Math.abs(below - (b[at]?.below ?? Number.NaN)) <= LOGIT_TOLERANCE)) ||
    a[0]?.id !== b[0]?.id
  );
}

/** Tokens in turns, the same number of each engine a round; the median round counts. */
export async function measureDecode(
  engines: readonly AskedEngine[],
  decodeCase: DecodeCase,
): Promise<Suite<DecodeResult>> {
  const failures: Failure[] = [];
  const alive = new Map<AskedEngine, { firstMs: number; rounds: number[] }>();
  const attempt = async (engine: AskedEngine, work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      alive.delete(engine);
      failures.push({ engine: engine.name, what: decodeCase.name, reason: (error as Error).message });
    }
  };
  let expected: readonly BestToken[] | undefined;
  for (const engine of engines) {
    await attempt(engine, async () => {
      const { ms, best = [], rounded } = await engine.ask({ kind: 'openDecode', decodeCase });
      expected ??= best;
      if (!rounded && differ(expected, best))
        throw new Error('the logits after the prompt are not those of the first engine');
      alive.set(engine, { firstMs: ms, rounds: [] });
    });
  }
  const count = Math.floor(decodeCase.answer / (ROUNDS + 1));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [engine, { rounds }] of [...alive]) {
      await attempt(engine, async () => {
        const { ms } = await engine.ask({ kind: 'decode', count });
        if (round > 0) rounds.push(ms / count);
      });
    }
  }
  const results = [...alive].map(([{ name }, { firstMs, rounds }]): DecodeResult => {
    const msPerToken = [...rounds].sort((a, b) => a - b)[Math.floor(rounds.length / 2)] ?? Number.NaN;
    return { engine: name, firstMs, msPerToken, tokensPerSecond: 1000 / msPerToken };
  });
  return { name: decodeCase.name, results, failures };
}
