import type { Gpu } from '../../src/gpu/gpu.ts';
import type { Checks } from './checks.ts';
export async function checkReal(_g: Gpu, _p: string, _c: Checks, _a: boolean): Promise<void> {}
