import { create } from 'zustand';
import type { ChatModel, ChatToken, Message, Sampling } from '../../pipeline/protocol.ts';
import { engine } from './client.ts';
import { type Fault, toFault } from './fault.ts';
import { createPulse } from './pulse.ts';

export interface Answer {
  readonly state: 'waiting' | 'streaming' | 'done' | 'failed';
  readonly stop?: 'end' | 'length' | 'interrupted';
  readonly tokens?: number;
  readonly tokensPerSecond?: number;
  readonly fault?: Fault;
}

export interface Turn {
  readonly id: number;
  readonly prompt: string;
  /** Answers that count as right, where the prompt is a held-out question that has some. */
  readonly accept: readonly string[];
  readonly sampling: Sampling;
  readonly answers: Readonly<Record<ChatModel, Answer>>;
}

interface ChatStore {
  /** The source column's model; the others are fixed. */
  readonly source: string | undefined;
  readonly showSft: boolean;
  readonly turns: readonly Turn[];
  readonly sampling: Sampling;
  readonly busy: boolean;
}

export const defaultSampling: Sampling = {
  temperature: 0.7,
  topK: 40,
  topP: 0.95,
  seed: 1,
  maxNewTokens: 96,
};

export const useChat = create<ChatStore>()(() => ({
  source: undefined,
  showSft: false,
  turns: [],
  sampling: defaultSampling,
  busy: false,
}));

/** Tokens as they stream, by turn and column, outside the store; `answerPulse` beats once a frame. */
const streams = new Map<string, ChatToken[]>();
export const answerPulse = createPulse();

const streamKey = (turn: number, column: ChatModel) => `${turn} ${column}`;
const none: readonly ChatToken[] = [];

export function answerTokens(turn: number, column: ChatModel): readonly ChatToken[] {
  return streams.get(streamKey(turn, column)) ?? none;
}

let nextTurn = 1;
let interrupted = false;

/** Asks every column the same, one after the other: there is one GPU, and turns make the speeds comparable. */
export async function ask(
  prompt: string,
  columns: readonly ChatModel[],
  accept: readonly string[] = [],
): Promise<void> {
  const { busy, sampling, turns } = useChat.getState();
  const content = prompt.trim();
  if (busy || !content || columns.length === 0) return;
  const id = nextTurn++;
  interrupted = false;
  const answers = Object.fromEntries(columns.map((column) => [column, { state: 'waiting' } as Answer]));
  useChat.setState({ busy: true, turns: [...turns, { id, prompt: content, accept, sampling, answers }] });
  for (const column of columns) {
    if (interrupted)
      setAnswer(id, column, { state: 'done', stop: 'interrupted', tokens: 0, tokensPerSecond: 0 });
    else await answer(id, column, [...history(turns, column), { role: 'user', content }], sampling);
  }
  useChat.setState({ busy: false });
}

async function answer(
  turn: number,
  column: ChatModel,
  messages: readonly Message[],
  sampling: Sampling,
): Promise<void> {
  const tokens: ChatToken[] = [];
  streams.set(streamKey(turn, column), tokens);
  setAnswer(turn, column, { state: 'streaming' });
  try {
    const result = await engine().chat(column, messages, sampling, (token) => {
      tokens.push(token);
      answerPulse.touch();
    });
    const { stop, tokensPerSecond } = result;
    setAnswer(turn, column, { state: 'done', stop, tokens: result.tokens, tokensPerSecond });
  } catch (error) {
    setAnswer(turn, column, { state: 'failed', fault: toFault(error) });
  }
  answerPulse.touch();
}

function setAnswer(turn: number, column: ChatModel, next: Answer): void {
  useChat.setState(({ turns }) => ({
    turns: turns.map((other) =>
      other.id === turn ? { ...other, answers: { ...other.answers, [column]: next } } : other,
    ),
  }));
}

/** What one column has said so far; turns that it did not finish are left out. */
function history(turns: readonly Turn[], column: ChatModel): readonly Message[] {
  return turns.flatMap(({ id, prompt, answers }): Message[] => {
    const content = answerTokens(id, column)
      .map((token) => token.text)
      .join('');
    if (answers[column]?.state !== 'done' || !content) return [];
    return [
      { role: 'user', content: prompt },
      { role: 'assistant', content },
    ];
  });
}

/** Ends the answer that is being written and those that wait. */
export async function interruptChat(): Promise<void> {
  interrupted = true;
  try {
    await engine().interrupt();
  } catch {
    // Nothing was being written any more.
  }
}

export function clearChat(): void {
  streams.clear();
  useChat.setState({ turns: [] });
}

export function setSampling(part: Partial<Sampling>): void {
  useChat.setState(({ sampling }) => ({ sampling: { ...sampling, ...part } }));
}

export function setChatSource(source: string): void {
  useChat.setState({ source });
}

export function setShowSft(showSft: boolean): void {
  useChat.setState({ showSft });
}
