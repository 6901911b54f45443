/** The hub of the engine's test double: three repositories that exist nowhere. */
import type { HeldModel } from '../../pipeline/hubModels.ts';
import type { Engine, HubForm, HubModelInfo, ModelCard } from '../../pipeline/protocol.ts';
import { AlloyError } from '../../util/errors.ts';

type HubMethods = Pick<
  Engine,
  'hubSettings' | 'hubLook' | 'hubGet' | 'hubStop' | 'hubList' | 'hubRemove' | 'hubVerify'
>;

const commit = '8a3f0c1d2b4e5f60718293a4b5c6d7e8f9012345';
const capacity = 2_400_000_000;

interface Repository {
  readonly id: string;
  readonly gated: boolean;
  readonly licence: string;
  readonly forms: readonly (readonly [label: string, file: string | undefined, bytes: number])[];
}

const repositories: readonly Repository[] = [
  {
    id: 'harbour/Skiff-135M-Instruct',
    gated: false,
    licence: 'apache-2.0',
    forms: [['BF16', undefined, 271_000_000]],
  },
  {
    id: 'harbour/Skiff-135M-Instruct-GGUF',
    gated: false,
    licence: 'apache-2.0',
    forms: [
      ['Q2_K', 'Skiff-135M-Instruct-Q2_K.gguf', 88_200_000],
      ['Q4_0', 'Skiff-135M-Instruct-Q4_0.gguf', 91_700_000],
      ['Q4_K_M', 'Skiff-135M-Instruct-Q4_K_M.gguf', 105_000_000],
      ['Q8_0', 'Skiff-135M-Instruct-Q8_0.gguf', 145_000_000],
      ['F16', 'Skiff-135M-Instruct-F16.gguf', 271_000_000],
    ],
  },
  { id: 'harbour/Barge-2B', gated: true, licence: 'gemma', forms: [['BF16', undefined, 5_240_000_000]] },
];

const reference = (id: string, file: string | undefined) =>
  file === undefined ? `hub:${id}@${commit}` : `hub:${id}/${file}@${commit}`;

/** @param stepMs of a hundredth of a download */
export function createFakeHub(stepMs: number): { engine: HubMethods; cards: () => readonly ModelCard[] } {
  const held = new Map<string, HeldModel>();
  let token = '';
  let stopped = false;
  const free = () => capacity - [...held.values()].reduce((sum, { bytesHere }) => sum + bytesHere, 0);
  const find = (name: string) => {
    for (const repository of repositories) {
      for (const [label, file, bytes] of repository.forms)
        if (reference(repository.id, file) === name) return { ...repository, label, file, bytes };
    }
    throw new AlloyError(
      'missing-file',
      `There is no model ${name} at https://huggingface.co; check the id.`,
    );
  };
  const engine: HubMethods = {
    async hubSettings(settings) {
      token = settings.token ?? '';
    },
    async hubLook(text) {
      await wait(stepMs);
      return look(text, held, free());
    },
    async hubGet(name, onEvent) {
      stopped = false;
      const { id, gated, licence, label, file, bytes } = find(name);
      if (gated && token === '') {
        throw new AlloyError(
          'no-access',
          `${id} is gated (401): accept its terms at https://huggingface.co/${id}, then give a token of yours.`,
        );
      }
      const before = held.get(name)?.bytesHere ?? 0;
      const save = (bytesHere: number) =>
        held.set(name, {
          reference: name,
          id,
          commit,
          revision: 'main',
          label,
          format: file === undefined ? 'safetensors' : 'gguf',
          bytes,
          bytesHere,
          complete: bytesHere === bytes,
          licence,
          usedAt: Date.UTC(2026, 4, 20),
        });
      if (bytes - before > free()) {
        save(before);
        throw new AlloyError(
          'disk-full',
          `There is no space for ${id}: ${bytes - before} bytes are still needed.`,
        );
      }
      const speed = 12_400_000;
      for (let done = before; done < bytes; ) {
        await wait(stepMs);
        if (stopped) throw new AlloyError('cancelled', 'The download was paused.');
        done = Math.min(bytes, done + Math.ceil(bytes / 100));
        save(done);
        const [bytesPerSecond, secondsLeft] = [speed, (bytes - done) / speed];
        const name = file ?? 'model.safetensors';
        onEvent({ kind: 'progress', file: name, done, total: bytes, bytesPerSecond, secondsLeft });
      }
      return cardOf(name, id, label, bytes, licence);
    },
    async hubStop() {
      stopped = true;
    },
    async hubList() {
      return { models: [...held.values()], freeBytes: free() };
    },
    async hubRemove(name) {
      const bytes = held.get(name)?.bytesHere ?? 0;
      held.delete(name);
      return bytes;
    },
    async hubVerify() {
      await wait(stepMs * 10);
      return [];
    },
  };
  const cards = () =>
    [...held.values()]
      .filter(({ complete }) => complete)
      .map(({ reference: name, id, label, bytes, licence = '' }) => cardOf(name, id, label, bytes, licence));
  return { engine, cards };
}

function look(text: string, held: ReadonlyMap<string, HeldModel>, freeBytes: number): HubModelInfo {
  const id = /^(?:hub:|https:\/\/huggingface\.co\/)?([\w.-]+\/[\w.-]+)/u.exec(text)?.[1] ?? text;
  const found = repositories.find((one) => one.id === id);
  if (!found)
    throw new AlloyError('missing-file', `There is no model ${id} at https://huggingface.co; check the id.`);
  const recommended = found.forms.find(([label]) => label === 'Q8_0') ?? found.forms[0];
  const forms = found.forms.map((form): HubForm => {
    const [label, file, bytes] = form;
    const name = reference(id, file);
    return {
      reference: name,
      format: file === undefined ? 'safetensors' : 'gguf',
      label,
      ...(file !== undefined && { file }),
      bytes,
      here: held.get(name)?.complete === true,
      chosen: form === recommended,
    };
  });
  const page = `https://huggingface.co/${id}`;
  return { id, revision: 'main', commit, page, licence: found.licence, gated: found.gated, forms, freeBytes };
}

function cardOf(name: string, id: string, label: string, bytes: number, licence: string): ModelCard {
  return {
    name,
    title: `${id.split('/').at(-1)?.replace('-GGUF', '')} ${label}`,
    role: 'source',
    family: 'llama',
    parameters: 134_515_008,
    vocab: 49_152,
    context: 8192,
    bytes,
    knows: [],
    scores: {},
    licence,
    from: id,
  };
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
