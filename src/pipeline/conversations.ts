import { AlloyError } from '../util/errors.ts';
import type { Conversation, Message } from './protocol.ts';

/** A conversation of a data file, with what the file knows beside it. */
export interface DataConversation extends Conversation {
  /** Where it comes from, e.g. the data set's name. */
  readonly source?: string;
}

const ROLES: readonly string[] = ['system', 'user', 'assistant'] satisfies Message['role'][];

/**
 * Reads JSON lines `{"id", "messages": [{"role", "content"}], "domain"?, "accept"?, "source"?}`. Empty lines are
 * skipped, other keys are ignored. Every conversation has an answer of an assistant to learn from; an id that ends in
 * `-trim` says that the last one was cut, so that its end is not learnt.
 *
 * @param file the name that errors tell.
 * @throws AlloyError `bad-data` naming the file, the line and the field.
 */
export function parseConversations(text: string, file: string): readonly DataConversation[] {
  const lines = text.replace(/^\uFEFF/u, '').split('\n');
  const seen = new Map<string, number>();
  const conversations: DataConversation[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const fail = (problem: string): never => {
      throw new AlloyError('bad-data', `${file}, line ${index + 1}: ${problem}.`);
    };
    const conversation = parseLine(line, fail);
    const earlier = seen.get(conversation.id);
    if (earlier !== undefined) {
      fail(`id "${conversation.id}" stands on line ${earlier} already; give every conversation its own`);
    }
    seen.set(conversation.id, index + 1);
    conversations.push(conversation);
  }
  if (conversations.length === 0) {
    throw new AlloyError('bad-data', `${file} holds no conversation; give one JSON object a line.`);
  }
  return conversations;
}

type Fail = (problem: string) => never;

function parseLine(line: string, fail: Fail): DataConversation {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return fail('is not JSON; give one JSON object a line');
  }
  if (!isRecord(parsed)) return fail(`is ${kindOf(parsed)}; give an object with "id" and "messages"`);
  const { id, messages, accept } = parsed;
  if (typeof id !== 'string' || id === '') return fail(`id is ${kindOf(id)}; give a text that is not empty`);
  if (!Array.isArray(messages) || messages.length === 0) {
    return fail(`messages is ${kindOf(messages)}; give a list of {"role", "content"}`);
  }
  const read = messages.map((message: unknown, index) => parseMessage(message, `messages[${index}]`, fail));
  if (!read.some(({ role, content }) => role === 'assistant' && content !== '')) {
    return fail('messages has no answer of the role "assistant"; add one');
  }
  const domain = optionalText(parsed.domain, 'domain', fail);
  const source = optionalText(parsed.source, 'source', fail);
  return {
    id,
    messages: read,
    ...(domain !== undefined && { domain }),
    ...(source !== undefined && { source }),
    ...(accept !== undefined && { accept: parseAccept(accept, fail) }),
  };
}

function parseMessage(message: unknown, field: string, fail: Fail): Message {
  if (!isRecord(message)) return fail(`${field} is ${kindOf(message)}; give {"role", "content"}`);
  const { role, content } = message;
  if (!isRole(role)) {
    return fail(`${field}.role is ${JSON.stringify(role) ?? 'missing'}; use "system", "user" or "assistant"`);
  }
  if (typeof content !== 'string') return fail(`${field}.content is ${kindOf(content)}; give a text`);
  return { role, content };
}

function parseAccept(accept: unknown, fail: Fail): readonly string[] {
  const texts = Array.isArray(accept) ? accept.filter((one) => typeof one === 'string' && one !== '') : [];
  if (!Array.isArray(accept) || texts.length === 0 || texts.length < accept.length) {
    return fail('accept is not a list of texts; list every right answer, or leave the key out');
  }
  return texts;
}

function optionalText(value: unknown, field: string, fail: Fail): string | undefined {
  return value === undefined || typeof value === 'string'
    ? value
    : fail(`${field} is ${kindOf(value)}; give a text`);
}

function isRole(role: unknown): role is Message['role'] {
  return typeof role === 'string' && ROLES.includes(role);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (value === '') return 'an empty text';
  return typeof value === 'object' ? 'an object' : `a ${typeof value === 'string' ? 'text' : typeof value}`;
}
