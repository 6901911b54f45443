/**
 * What the names in a GGUF file's `tokenizer.ggml.pre` mean. The file says only the name: expressions, normalization (which
 * stands nowhere in it) and whether a word that is a token stays whole are those of the tokenizers that the names are given to.
 */

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const words = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+';
const spaces = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const rest = ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${spaces}`;

/** GPT-2's expression. */
export const gpt2Pattern =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const gpt4Pattern = `${contractions}|${words}|\\p{N}{1,3}|${rest}`;
const qwenPattern = `${contractions}|${words}|\\p{N}|${rest}`;
const qwenMarksPattern = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${spaces}`;

/** Words whose letters go from capitals to small ones, with what may follow them. */
function casedWords(after: string, exclude = ''): string {
  const upper = `[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}${exclude}]`;
  const lower = `[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}${exclude}]`;
  const start = '[^\\r\\n\\p{L}\\p{N}]?';
  return `${start}${upper}*${lower}+${after}|${start}${upper}+${lower}*${after}`;
}

const slashRest = ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${spaces}`;
const gpt4oPattern = `${casedWords(`${contractions}?`)}|\\p{N}{1,3}|${slashRest}`;
const tekkenPattern = `${casedWords('')}|\\p{N}|${slashRest}`;
const kimiPattern = `[\\p{Han}]+|${casedWords(`${contractions}?`, '&&[^\\p{Han}]')}|\\p{N}{1,3}|${rest}`;
const bloomPattern = ' ?[^(\\s|[.,!?…。，、।۔،])]+';

/** The letters with case that DeepSeek's first tokenizer lists. */
const deepseekLetters =
  'A-Za-z\\u00b5\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u01ba\\u01bc-\\u01bf\\u01c4-\\u0293\\u0295-\\u02af\\u0370-\\u0373\\u0376' +
  '\\u0377\\u037b-\\u037d\\u037f\\u0386\\u0388-\\u038a\\u038c\\u038e-\\u03a1\\u03a3-\\u03f5\\u03f7-\\u0481\\u048a-\\u052f' +
  '\\u0531-\\u0556\\u10a0-\\u10c5\\u13a0-\\u13f5\\u13f8-\\u13fd\\u1c90-\\u1cba\\u1cbd-\\u1cbf\\u1d00-\\u1d2b\\u1d6b-\\u1d77' +
  '\\u1d79-\\u1d9a\\u1e00-\\u1f15\\u1f18-\\u1f1d\\u1f20-\\u1f45\\u1f48-\\u1f4d\\u1f50-\\u1f57\\u1f59\\u1f5b\\u1f5d\\u1f5f-\\u1f7d' +
  '\\u1f80-\\u1fb4\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4\\u1fc6-\\u1fcc\\u1fd0-\\u1fd3\\u1fd6-\\u1fdb\\u1fe0-\\u1fec\\u1ff2-\\u1ff4' +
  '\\u1ff6-\\u1ffc\\u2102\\u2107\\u210a-\\u2113\\u2115\\u2119-\\u211d\\u2124\\u2126\\u2128\\u212a-\\u212d\\u212f-\\u2134\\u2139' +
  '\\u213c-\\u213f\\u2145-\\u2149\\u214e\\u2183\\u2184\\u2c00-\\u2c7b\\u2c7e-\\u2ce4\\u2ceb-\\u2cee\\u2cf2\\u2cf3\\ua640-\\ua66d' +
  '\\ua680-\\ua69b\\ua722-\\ua76f\\ua771-\\ua787\\ua78b-\\ua78e\\uab70-\\uabbf\\ufb00-\\ufb06\\ufb13-\\ufb17\\uff21-\\uff3a' +
  '\\uff41-\\uff5a\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}' +
  '\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}';
const deepseekScripts = '[\\u4e00-\\u9fa5\\u0800-\\u4e00\\uac00-\\ud7ff]+';
const deepseek3Scripts = '[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+';
const deepseek3Pattern = `[!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_\`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${spaces}`;

const split = (Regex: string) => ({
  type: 'Split',
  pattern: { Regex },
  behavior: 'Isolated',
  invert: false,
});
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
const gpt2Steps = [{ ...byteLevel, use_regex: true }];
const digits = { type: 'Digits', individual_digits: true };
const nfc = { type: 'NFC' };
const splits = (...patterns: readonly string[]) => [...patterns.map(split), byteLevel];

/** How a byte-level tokenizer cuts a text into words; steps and normalizer as tokenizer.json writes them. */
export interface PreTokenizerKind {
  readonly steps: readonly object[];
  readonly normalizer: object | null;
  /** A piece that is a token is not cut. */
  readonly wholeFirst: boolean;
  readonly addBos: boolean;
}

function kind(steps: readonly object[], more: Partial<PreTokenizerKind> = {}): PreTokenizerKind {
  return { steps, normalizer: null, wholeFirst: false, addBos: false, ...more };
}

const gpt2 = kind(gpt2Steps);
const gpt2Composed = kind(gpt2Steps, { normalizer: nfc });
const singleDigits = kind([digits, ...gpt2Steps]);
const gpt4 = kind(splits(gpt4Pattern));
const gpt4o = kind(splits(gpt4oPattern));
const llama3 = kind(splits(gpt4Pattern), { wholeFirst: true, addBos: true });
const qwen2 = kind(splits(qwenPattern), { normalizer: nfc });
const tekken = kind(splits(tekkenPattern), { wholeFirst: true, addBos: true });
const bloom = kind(splits(bloomPattern));
const deepseek3 = kind(splits('\\p{N}{1,3}', deepseek3Scripts, deepseek3Pattern));

const kinds: readonly (readonly [PreTokenizerKind, readonly string[]])[] = [
  [gpt2, ['default', 'gpt-2', 'phi-2', 'jais', 'jina-es', 'jina-de', 'jina-en', 'jina-v1-en', 'jina-v2-es']],
  [
    gpt2,
    [
      'jina-v2-de',
      'roberta-bpe',
      'gigachat',
      'trillion',
      'granite-docling',
      'jina-v2-code',
      'exaone4',
      'a.x-4.0',
      'mellum',
    ],
  ],
  [gpt2Composed, ['mpt', 'olmo', 'gpt-neox', 'modern-bert']],
  [singleDigits, ['smollm', 'starcoder', 'refact', 'codeshell', 'exaone', 'minerva-7b', 'granite']],
  [kind([digits, ...gpt2Steps], { normalizer: nfc }), ['command-r']],
  [llama3, ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'falcon-h1', 'lfm2', 'midm-2.0', 'jina-v5-nano']],
  [gpt4, ['dbrx', 'smaug-bpe', 'chatglm-bpe', 'glm4', 'olmo2', 'phi-4']],
  [qwen2, ['qwen2', 'deepseek-r1-qwen', 'hunyuan', 'megrez', 'kormo', 'f2llmv2']],
  [kind(splits(qwenPattern)), ['stablelm2', 'solar-open', 'grok-2']],
  [kind(splits(qwenMarksPattern), { normalizer: nfc }), ['qwen35']],
  [tekken, ['tekken', 'pixtral']],
  [gpt4o, ['gpt-4o', 'llama4', 'minimax-m2', 'kanana2']],
  [kind(splits(kimiPattern)), ['kimi-k2']],
  [
    kind([
      ...['[\\r\\n]', `\\s?[${deepseekLetters}]+`, '\\s?[!-/:-~！-／：-～‘-‟\\u3000-。]+', '\\s+$'].map(
        split,
      ),
      split(deepseekScripts),
      digits,
      byteLevel,
    ]),
    ['deepseek-llm'],
  ],
  [
    kind([...['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', deepseekScripts].map(split), digits, byteLevel]),
    ['deepseek-coder'],
  ],
  [deepseek3, ['deepseek-v3', 'hunyuan-dense', 'joyai-llm']],
  [
    kind([
      { type: 'Punctuation', behavior: 'Contiguous' },
      ...gpt2Steps,
      { type: 'Digits', individual_digits: false },
      split('[0-9][0-9][0-9]'),
    ]),
    ['falcon'],
  ],
  [bloom, ['bloom', 'poro-chat', 'gpt3-finnish']],
  [kind([split(bloomPattern), digits, byteLevel]), ['viking']],
];

const byName: ReadonlyMap<string, PreTokenizerKind> = new Map(
  kinds.flatMap(([value, names]) => names.map((name) => [name, value] as const)),
);

/** All names that are known. */
export const preTokenizerNames: readonly string[] = [...byName.keys()];

/** What a name means; undefined where it is not known. */
export function preTokenizerKind(name: string): PreTokenizerKind | undefined {
  return byName.get(name);
}
