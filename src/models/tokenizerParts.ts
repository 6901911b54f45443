import type { AddedToken } from './tokenizerAddedTokens.ts';
import type { TokenModel } from './tokenizerModels.ts';
import type { NormalizeStep, PreTokenizeStep } from './tokenizerSteps.ts';

/** Everything that makes a tokenizer, whatever file it came from. */
export interface TokenizerParts {
  /** The file that errors name. */
  readonly file: string;
  /** The text of every id as the file has it; undefined where an id is not given to any token. */
  readonly tokens: readonly (string | undefined)[];
  /** How tokens write bytes: GPT-2's table, or UTF-8 with ▁ for a space and `<0xHH>` for a byte. */
  readonly writing: 'byteLevel' | 'sentencePiece';
  /** Ids whose text `<0xHH>` stands for one byte. */
  readonly byteIds: ReadonlySet<number>;
  /** Ids that are never produced (padding of the vocabulary). */
  readonly unused: ReadonlySet<number>;
  readonly added: readonly AddedToken[];
  readonly normalize: readonly NormalizeStep[];
  readonly preTokenize: PreTokenizeStep;
  readonly model: TokenModel;
  /** A space that is not in the text may stand before it in the tokens. */
  readonly leadingSpace: boolean;
  /** What decoding leaves out at the start: a ▁ of the first token, a space of the text, or nothing. */
  readonly stripsOnDecode: 'mark' | 'space' | null;
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly pad: number | undefined;
  readonly unk: number | undefined;
  /** Further ids that end a turn, as the file names them. */
  readonly endOfTurn: readonly number[];
  /** Whether sequences begin with BOS. */
  readonly addBos: boolean;
  readonly chatTemplate: string | null;
  /** The file and field of the template, for errors. */
  readonly templateOrigin: string;
}
