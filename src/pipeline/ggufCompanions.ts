import type { GgufFile } from '../formats/gguf.ts';
import type { Tokenizer } from '../models/tokenizer.ts';
import { tokenizerFilesOf } from '../models/tokenizerExport.ts';
import type { FileSource } from '../util/fileSource.ts';

/** A file whose content is made when somebody asks for it. */
function madeFile(name: string, make: () => string): FileSource {
  let made: Uint8Array<ArrayBuffer> | undefined;
  const content = (): Uint8Array<ArrayBuffer> => {
    made ??= new TextEncoder().encode(make());
    return made;
  };
  return {
    name,
    get bytes() {
      return content().length;
    },
    read: async (offset, length) => content().slice(offset, offset + length),
  };
}

/** What a Hugging Face folder has beside config and weights, made from a GGUF file's own tables. */
export function ggufCompanions({ metadata, source }: GgufFile, tokenizer: Tokenizer): FileSource[] {
  const json = (value: unknown) => `${JSON.stringify(value)}\n`;
  const files = () => tokenizerFilesOf(metadata, source.name, tokenizer.addBos);
  const { chatTemplate } = tokenizer;
  return [
    madeFile('tokenizer.json', () => json(files().tokenizer)),
    madeFile('tokenizer_config.json', () => json(files().config)),
    ...(chatTemplate === null ? [] : [madeFile('chat_template.jinja', () => chatTemplate)]),
  ];
}
