import { describe, expect, test } from 'vitest';
import { hubText, isHubText, parseHubReference } from './reference.ts';

const commit = '0123456789abcdef0123456789abcdef01234567';

describe('parseHubReference', () => {
  test.each([
    ['hub:a/b', { id: 'a/b' }],
    ['a/b', { id: 'a/b' }],
    [' hub:gpt2 ', { id: 'gpt2' }],
    ['hub:a/b@main', { id: 'a/b', revision: 'main' }],
    ['hub:a/b@refs/pr/1', { id: 'a/b', revision: 'refs/pr/1' }],
    [`hub:a/b@${commit}`, { id: 'a/b', revision: commit }],
    ['hub:a/b/x-Q4_0.gguf', { id: 'a/b', file: 'x-Q4_0.gguf' }],
    ['hub:a/b/in/x.gguf@v1.0', { id: 'a/b', file: 'in/x.gguf', revision: 'v1.0' }],
    ['hub:a/b@v1.0/in/x.gguf', { id: 'a/b', file: 'in/x.gguf', revision: 'v1.0' }],
    ['hub:a/b@refs/pr/1/x.gguf', { id: 'a/b', file: 'x.gguf', revision: 'refs/pr/1' }],
    ['hub:a/b:Q4_K_M@main', { id: 'a/b', variant: 'Q4_K_M', revision: 'main' }],
    ['hub:a/b/model.safetensors', { id: 'a/b' }],
    ['https://huggingface.co/a/b', { id: 'a/b' }],
    ['https://huggingface.co/a/b/', { id: 'a/b' }],
    ['huggingface.co/a/b', { id: 'a/b' }],
    ['https://hf.co/a/b/tree/main', { id: 'a/b', revision: 'main' }],
    ['https://huggingface.co/a/b/tree/refs%2Fpr%2F2', { id: 'a/b', revision: 'refs/pr/2' }],
    ['https://huggingface.co/a/b/blob/v2/x.gguf', { id: 'a/b', revision: 'v2', file: 'x.gguf' }],
    [
      'https://huggingface.co/a/b/resolve/main/in/x.gguf?download=true',
      { id: 'a/b', revision: 'main', file: 'in/x.gguf' },
    ],
    ['https://huggingface.co/a/b/blob/main/config.json', { id: 'a/b', revision: 'main' }],
    ['https://huggingface.co/a/b?show_file_info=x.gguf', { id: 'a/b', file: 'x.gguf' }],
    ['https://huggingface.co/a/b/discussions/4', { id: 'a/b' }],
    ['https://huggingface.co/gpt2/tree/main', { id: 'gpt2', revision: 'main' }],
    ['http://127.0.0.1:8080/hub/a/b/tree/main', { id: 'a/b', revision: 'main' }],
  ])('%s', (text, reference) => {
    expect(parseHubReference(text, ['http://127.0.0.1:8080/hub'])).toEqual(reference);
  });

  test.each([
    'hub:',
    'hub:a/',
    'hub:/b',
    'hub:../b',
    'hub:a/..',
    'hub:a/b--c',
    'hub:a/b@',
    'hub:a/b@../x',
    'hub:a/b@x y',
    'hub:a/b:',
    'hub:a/b/../../x.gguf',
    'hub:a/b/pytorch_model.bin',
    'https://huggingface.co/datasets/a/b',
    'https://huggingface.co/a/b/tree/main/folder',
    'https://huggingface.co/',
    'https://huggingface.co/a/%E0%A4%A',
    'https://example.org/a/b',
  ])('%s is refused', (text) => {
    expect(() => parseHubReference(text)).toThrow(expect.objectContaining({ code: 'bad-argument' }));
  });

  test('is written back as it can be read', () => {
    for (const text of ['hub:a/b', 'hub:gpt2@main', 'hub:a/b/in/x.gguf@refs/pr/1', `hub:a/b:Q8_0@${commit}`])
      expect(hubText(parseHubReference(text))).toBe(text);
  });

  test('only what looks like the hub or an address does', () => {
    const meant = ['hub:a/b', 'https://hf.co/a/b', 'huggingface.co/a', 'http://127.0.0.1:8080/a/b'];
    expect(meant.map(isHubText)).toEqual([true, true, true, true]);
    expect(['a/b', './x', 'pivot', 'http/x'].map(isHubText)).toEqual([false, false, false, false]);
  });
});
