import { Template } from '@huggingface/jinja';
import { AlloyError } from '../util/errors.ts';

/** One message of a conversation. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** What a template may write by itself. */
export interface TemplateTokens {
  /** Text of BOS, empty where there is none. */
  readonly bos: string;
  readonly eos: string;
  /** Texts of all special tokens: what may end a turn. */
  readonly specials?: readonly string[];
  /** The file and field that the template is from, for errors. */
  readonly origin?: string;
}

export interface RenderOptions extends TemplateTokens {
  /** Ends with the opening of an answer, for the model to go on. */
  readonly addGenerationPrompt?: boolean;
}

/** Where an answer stands in the rendered text, in UTF-16 units and in UTF-8 bytes. */
export interface AnswerSpan {
  /** Index in the list of messages. */
  readonly message: number;
  /** The content as the template wrote it. */
  readonly start: number;
  readonly end: number;
  /** End of the text of the end-of-turn token behind it (and of spaces before that); `end` where there is none. */
  readonly turnEnd: number;
  readonly startByte: number;
  readonly endByte: number;
  readonly turnEndByte: number;
  /** White space at the start of the message that the template left out. */
  readonly skippedBytes: number;
}

/**
 * For models without a chat template (base models): the role on a line of its own, then the content, and EOS after an
 * answer. The content begins its line because a space before it would become part of its first token.
 */
export const defaultChatTemplate = [
  '{{- bos_token }}',
  '{%- for message in messages %}',
  '{%- if not loop.first %}{{- "\\n\\n" }}{%- endif %}',
  '{{- message["role"] | capitalize + ":\\n" + message["content"] }}',
  '{%- if message["role"] == "assistant" %}{{- eos_token }}{%- endif %}',
  '{%- endfor %}',
  '{%- if add_generation_prompt %}{{- "\\n\\nAssistant:\\n" }}{%- endif %}',
].join('');

const parsed = new Map<string, Template>();
const keptTemplates = 32;
const utf8 = new TextEncoder();

function parse(template: string, origin: string): Template {
  const known = parsed.get(template);
  if (known !== undefined) return known;
  let result: Template;
  try {
    result = new Template(template);
  } catch (error) {
    throw new AlloyError(
      'unsupported',
      `${origin}: the chat template cannot be read (${reason(error)}); give one that follows Jinja.`,
      { cause: error },
    );
  }
  if (parsed.size >= keptTemplates) parsed.clear();
  parsed.set(template, result);
  return result;
}

/** One line without a full stop, however many the parser writes. */
function reason(error: unknown): string {
  const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
  return line.trim().replace(/\.$/u, '');
}

const someTemplate = 'The model';

/**
 * Writes a conversation as a model expects it.
 * @throws AlloyError `unsupported` for a template that cannot be read, `bad-data` for messages that it refuses
 */
export function renderChat(
  template: string,
  messages: readonly ChatMessage[],
  options: RenderOptions,
): string {
  const { origin = someTemplate } = options;
  try {
    return parse(template, origin).render({
      messages: messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: options.addGenerationPrompt ?? false,
      bos_token: options.bos,
      eos_token: options.eos,
      tools: null,
      documents: null,
    });
  } catch (error) {
    if (error instanceof AlloyError) throw error;
    throw new AlloyError(
      'bad-data',
      `${origin}: the chat template refuses the conversation (${reason(error)}), whose roles are ${messages.map(({ role }) => role).join(', ')}; change the messages or the template.`,
      { cause: error },
    );
  }
}

/** A text that no template changes and no conversation holds: private-use characters around a number. */
function sentinel(index: number): string {
  return `\u{f0a11}${index}\u{f0a12}`;
}

function isAnswer(message: ChatMessage): boolean {
  return message.role === 'assistant';
}

/** Cuts a text at markers that must each be there once, in order; null otherwise. */
function cutAt(text: string, markers: readonly string[]): string[] | null {
  const parts: string[] = [];
  let from = 0;
  for (const marker of markers) {
    const at = text.indexOf(marker, from);
    if (at < 0 || text.indexOf(marker, at + 1) >= 0) return null;
    parts.push(text.slice(from, at));
    from = at + marker.length;
  }
  parts.push(text.slice(from));
  return parts;
}

type Range = readonly [start: number, end: number];

/** Forms in which templates write a content: as it is, or without white space around it. */
function forms(content: string): string[] {
  return [...new Set([content, content.trim(), content.trimStart(), content.trimEnd()])];
}

/** Fits contents between the fixed parts of a rendering; null where they don't make up the text. */
function fitContents(text: string, parts: readonly string[], contents: readonly string[]): Range[] | null {
  const ranges: Range[] = [];
  const [opening = '', ...others] = parts;
  if (!text.startsWith(opening)) return null;
  let at = opening.length;
  for (const [index, content] of contents.entries()) {
    const after = others[index] ?? '';
    const last = index === contents.length - 1;
    const found = forms(content).find((form) => {
      if (!text.startsWith(form + after, at)) return false;
      return !last || at + form.length + after.length === text.length;
    });
    if (found === undefined) return null;
    ranges.push([at, at + found.length]);
    at += found.length + after.length;
  }
  return ranges;
}

/** Replaces every answer by a marker and fits the real contents into the gaps. */
function rangesBySentinels(
  text: string,
  messages: readonly ChatMessage[],
  render: (messages: readonly ChatMessage[]) => string,
): Range[] | null {
  const markers: string[] = [];
  const marked = messages.map((message, index) => {
    if (!isAnswer(message)) return message;
    const marker = sentinel(index);
    markers.push(marker);
    return { ...message, content: marker };
  });
  const parts = cutAt(render(marked), markers);
  const contents = messages.filter(isAnswer).map((message) => message.content);
  return parts === null ? null : fitContents(text, parts, contents);
}

/**
 * Puts a marker behind every real content, for templates that look at what an answer says. The rendering without markers
 * must be the real one, and the content must stand before its marker.
 */
function rangesByMarkedEnds(
  text: string,
  messages: readonly ChatMessage[],
  render: (messages: readonly ChatMessage[]) => string,
): Range[] | null {
  const markers: string[] = [];
  const bodies: string[] = [];
  const marked = messages.map((message, index) => {
    if (!isAnswer(message)) return message;
    const end = message.content.trimEnd().length;
    markers.push(sentinel(index));
    bodies.push(message.content.slice(0, end));
    return {
      ...message,
      content: message.content.slice(0, end) + sentinel(index) + message.content.slice(end),
    };
  });
  const parts = cutAt(render(marked), markers);
  if (parts === null || parts.join('') !== text) return null;
  const ranges: Range[] = [];
  let at = 0;
  for (const [index, body] of bodies.entries()) {
    at += parts[index]?.length ?? 0;
    const written = forms(body).find((form) => parts[index]?.endsWith(form));
    if (written === undefined) return null;
    ranges.push([at - written.length, at]);
  }
  return ranges;
}

/** Length of the end of turn at the start of a text: a special token or EOS, spaces before it included. */
function endOfTurnLength(after: string, tokens: TemplateTokens): number {
  const spaces = after.length - after.trimStart().length;
  const found = [...(tokens.specials ?? []), tokens.eos]
    .filter((token) => token !== '' && after.startsWith(token, spaces))
    .sort((a, b) => b.length - a.length)[0];
  return found === undefined ? 0 : spaces + found.length;
}

/**
 * Renders a whole conversation and finds every answer in it (methods C.5).
 * @throws AlloyError `bad-data` where the template changes an answer so that it cannot be found again
 */
export function renderForTraining(
  template: string,
  messages: readonly ChatMessage[],
  tokens: TemplateTokens,
): { text: string; spans: AnswerSpan[] } {
  const render = (list: readonly ChatMessage[]) => renderChat(template, list, tokens);
  const text = render(messages);
  const answers = messages.flatMap((message, index) => (isAnswer(message) ? [index] : []));
  const ranges = rangesBySentinels(text, messages, render) ?? rangesByMarkedEnds(text, messages, render);
  if (ranges === null) {
    throw new AlloyError(
      'bad-data',
      `${tokens.origin ?? someTemplate}: the chat template changes the answers of a conversation, so they cannot be marked for training; use a template that writes them as they are.`,
    );
  }
  const bytesBefore = byteOffsets(text);
  const spans = ranges.map(([start, end], index): AnswerSpan => {
    const turnEnd = end + endOfTurnLength(text.slice(end), tokens);
    const message = answers[index] ?? 0;
    const skipped = Math.max(0, messages[message]?.content.indexOf(text.slice(start, end)) ?? 0);
    return {
      message,
      start,
      end,
      turnEnd,
      startByte: bytesBefore(start),
      endByte: bytesBefore(end),
      turnEndByte: bytesBefore(turnEnd),
      skippedBytes: utf8.encode(messages[message]?.content.slice(0, skipped)).length,
    };
  });
  return { text, spans };
}

/** UTF-8 bytes before a place in the text; places must be asked for in ascending order. */
function byteOffsets(text: string): (place: number) => number {
  let place = 0;
  let bytes = 0;
  return (wanted) => {
    bytes += utf8.encode(text.slice(place, wanted)).length;
    place = wanted;
    return bytes;
  };
}

/** The special token that a template writes behind an answer, or null where it writes none or cannot be rendered. */
export function endOfTurnText(template: string, tokens: TemplateTokens): string | null {
  const messages: ChatMessage[] = [
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Hello' },
  ];
  try {
    const { text, spans } = renderForTraining(template, messages, tokens);
    const [span] = spans;
    const found = span === undefined ? '' : text.slice(span.end, span.turnEnd).trimStart();
    return found === '' ? null : found;
  } catch (error) {
    if (error instanceof AlloyError) return null;
    throw error;
  }
}
