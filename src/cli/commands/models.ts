import type { Command } from '../command.ts';
import { textTable } from '../table.ts';

export const models: Command = {
  name: 'models',
  summary: 'List the built-in models',
  usage: 'models',
  help: '',
  options: {},
  words: [0, 0],
  async run({ shelf }) {
    const all = await shelf.builtin();
    if (all.length === 0)
      return {
        json: [],
        text: 'There are no built-in models; give a Hugging Face folder or a .gguf file instead of a name.',
      };
    const rows = all.map(({ name, role, family, parameters, vocab, bytes, knows, scores }) => [
      name,
      role,
      family,
      `${(parameters / 1e6).toFixed(1)} M`,
      String(vocab),
      `${(bytes / 2 ** 20).toFixed(1)} MiB`,
      knows.map((domain) => domain + scoreText(scores[domain])).join(', '),
    ]);
    const head = ['name', 'role', 'family', 'parameters', 'vocabulary', 'file', 'knows (right answers)'];
    return { json: all, text: textTable(head, rows, [3, 4, 5]) };
  },
};

function scoreText(score: number | undefined): string {
  return score === undefined ? '' : ` ${Math.round(100 * score)} %`;
}
