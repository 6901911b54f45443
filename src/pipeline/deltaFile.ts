import { packSections, unpackSections } from '../align/sections.ts';
import { type LoraMatrix, peftConfigText, readPeft, writePeftTensors } from '../formats/peft.ts';
import { SafetensorsFile } from '../formats/safetensors.ts';
import { AlloyError } from '../util/errors.ts';
import type { ByteSink, FileSource } from '../util/fileSource.ts';

const MAGIC = 'alloylra';
const VERSION = 1;

/** Collects what a writer writes. */
export class MemorySink implements ByteSink {
  readonly #parts: Uint8Array<ArrayBuffer>[] = [];

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#parts.push(bytes.slice());
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

/** One delta as an artifact: its PEFT configuration and tensors, as they would be exported. */
export async function packDelta(delta: readonly LoraMatrix[]): Promise<Uint8Array<ArrayBuffer>> {
  const adapter = { baseModel: null, matrices: delta };
  const sink = new MemorySink();
  await writePeftTensors(sink, adapter);
  const layers = 1 + Math.max(...delta.map(({ module }) => Number(/layers\.(\d+)/u.exec(module)?.[1] ?? 0)));
  return new Uint8Array(
    packSections(MAGIC, VERSION, { config: peftConfigText(adapter, layers) }, [sink.bytes()]),
  );
}

/** @throws AlloyError `bad-file` when the artifact is damaged */
export async function unpackDelta(bytes: Uint8Array, name: string): Promise<readonly LoraMatrix[]> {
  const { meta, arrays } = unpackSections(bytes, MAGIC, VERSION, name);
  const { config } = meta as { config?: unknown };
  const [tensors] = arrays;
  if (typeof config !== 'string' || !(tensors instanceof Uint8Array)) {
    throw new AlloyError('bad-file', `The delta ${name} is damaged; delete it and train again.`);
  }
  const file: FileSource = {
    name,
    bytes: tensors.length,
    read: async (offset, length) => new Uint8Array(tensors.slice(offset, offset + length)),
  };
  return (await readPeft(JSON.parse(config), await SafetensorsFile.open(file), name)).matrices;
}
