/**
 * What the page and the worker say to each other. The worker owns the GPU, the models and every run; the page only
 * holds plain data. Calls go through comlink; callbacks are wrapped with `proxy`.
 */
import type { DeviceChoice, DeviceKind, DeviceWay } from './deviceChoice.ts';
import type { HeldModel, HubSettings } from './hubModels.ts';
import type { JobState } from './jobControl.ts';
import type { Recipe } from './recipe.ts';

export interface DeviceReport {
  readonly name: string;
  readonly kind: DeviceKind;
  /** What was asked for. */
  readonly choice: DeviceChoice;
  /** Why it is this one, as half a sentence. */
  readonly why: string;
  /** What could be chosen. */
  readonly ways: Readonly<Record<DeviceKind, DeviceWay>>;
  readonly software: boolean;
  readonly features: readonly string[];
  readonly bindingBytes: number;
  readonly bufferBytes: number;
}

export interface MemoryReport {
  readonly bytes: number;
  readonly peakBytes: number;
}

/** One entry of `public/models/index.json`, or a model the person opened. */
export interface ModelCard {
  readonly name: string;
  readonly title: string;
  readonly role: 'pivot' | 'source';
  readonly family: string;
  readonly parameters: number;
  /** Its kind in a few words, such as "byte-level BPE"; absent where nobody said. */
  readonly tokenizer?: string;
  readonly vocab: number;
  readonly context: number;
  readonly bytes: number;
  readonly knows: readonly string[];
  /** Share of right answers by domain, 0..1. */
  readonly scores: Readonly<Record<string, number>>;
  readonly licence: string;
  /** Of a model of the hub, its id there. */
  readonly from?: string;
}

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface Conversation {
  readonly id: string;
  readonly domain?: string;
  readonly messages: readonly Message[];
  /** Every answer that counts as right; absent where accuracy makes no sense. */
  readonly accept?: readonly string[];
}

/** Why a pivot token has, or lacks, a row of the source. */
export type MatchReason = 'paired' | 'inside-source-token' | 'low-mass' | 'not-scored' | 'past-end';

export interface LaneToken {
  readonly id: number;
  /** What the token decodes to; whitespace kept, undecodable bytes as `<0xHH>`. */
  readonly text: string;
  /** UTF-8 byte range in the answer. */
  readonly start: number;
  readonly end: number;
  /** −log p of this token under its model, nats. */
  readonly nll: number;
  readonly top: readonly { readonly id: number; readonly text: string; readonly probability: number }[];
}

/** One answer as both tokenizers cut it, and how their rows pair. */
export interface AlignmentView {
  readonly text: string;
  readonly pivot: readonly LaneToken[];
  readonly source: readonly LaneToken[];
  /** For every pivot token: the source token whose row predicts from the same place, or −1; and why. */
  readonly pairs: readonly { readonly source: number; readonly reason: MatchReason; readonly mass: number }[];
  /** The source's row carried over to the pivot's vocabulary, by pivot token; empty where there is none. */
  readonly projected: readonly (readonly { readonly text: string; readonly probability: number }[])[];
  readonly chosen: 'pivot' | 'source';
  readonly nllPerByte: { readonly pivot: number; readonly source: number };
}

export interface AlignmentSummary {
  readonly source: string;
  /** Share of the pivot's scored positions that got a row, 0..1. */
  readonly coverage: number;
  readonly reasons: Readonly<Record<MatchReason, number>>;
  /** How the entries of the source's rows reached the pivot's vocabulary, as shares of probability mass. */
  readonly mapping: Readonly<Record<string, number>>;
  /** Conversations whose rows come from the source (MinCE). */
  readonly won: number;
  readonly conversations: number;
  readonly tokensPerByte: { readonly pivot: number; readonly source: number };
}

export interface ReportRow {
  readonly model: string;
  readonly role: 'pivot' | 'source' | 'sft' | 'target' | 'merged';
  readonly nllPerByte: number;
  readonly low: number;
  readonly high: number;
  readonly accuracy?: number;
  /** NLL per byte minus that of SFT-only, paired by conversation; below 0 is better. */
  readonly difference?: { readonly value: number; readonly low: number; readonly high: number };
}

export interface ReportSuite {
  readonly suite: string;
  /** How many the numbers are of; absent in reports of earlier versions, as is `tooFew`. */
  readonly conversations?: number;
  /** Whether these are too few to call a model better or worse. */
  readonly tooFew?: boolean;
  readonly rows: readonly ReportRow[];
}

export interface Report {
  readonly recipe: Recipe;
  readonly suites: readonly ReportSuite[];
  readonly seconds: number;
  readonly device: string;
  readonly alignment: readonly AlignmentSummary[];
  readonly peakBytes: number;
  /** Steps whose results were there already, so that `seconds` does not count them. */
  readonly reused?: number;
}

export type StageName = 'represent' | 'align' | 'distil' | 'merge' | 'evaluate';

/** What a running fusion tells, in order. */
export type RunEvent =
  | { readonly kind: 'stage'; readonly stage: StageName; readonly label: string; readonly cached: boolean }
  | {
      readonly kind: 'progress';
      readonly stage: StageName;
      readonly label: string;
      readonly done: number;
      readonly total: number;
      readonly secondsLeft: number | undefined;
    }
  | {
      readonly kind: 'loss';
      /** `sft` or a source's name. */
      readonly target: string;
      /** Counted from 1. */
      readonly step: number;
      /** What is minimised: both means, weighted by λ and 1 − λ. */
      readonly total: number;
      /** Mean cross-entropy of the labels, and mean distance to the teacher's rows (0 without a teacher), nats a row. */
      readonly supervised: number;
      readonly distillation: number;
      readonly learningRate: number;
    }
  /** A sentence about how a stage runs. */
  | { readonly kind: 'note'; readonly text: string }
  /** The device was lost and another one opened; the run goes on from its last checkpoint. */
  | { readonly kind: 'reopened'; readonly reason: string }
  | { readonly kind: 'alignment'; readonly summary: AlignmentSummary }
  | { readonly kind: 'merged' }
  | { readonly kind: 'report'; readonly report: Report }
  | { readonly kind: 'state'; readonly state: JobState }
  | { readonly kind: 'done' };

export type RunCommand = 'pause' | 'resume' | 'step' | 'stop';

/** One adapted matrix of the pivot. */
export interface MatrixKey {
  readonly layer: number;
  readonly matrix: string;
}

export interface MergeCell extends MatrixKey {
  /** Index into `MergeView.sources`. */
  readonly source: number;
  readonly weight: number;
  /** What the method computed, before any hand change. */
  readonly computed: number;
  /** L2 norm of this source's delta for the matrix. */
  readonly norm: number;
}

export interface MergeView {
  readonly method: 'sce' | 'linear';
  readonly sources: readonly string[];
  readonly layers: number;
  readonly matrices: readonly string[];
  readonly cells: readonly MergeCell[];
  /** Share of |delta| mass where the sources' signs disagree, one a matrix. */
  readonly conflicts: readonly (MatrixKey & { readonly share: number })[];
}

/**
 * `pivot` (of the fusion, without one that of the recipe the engine was last given), `fused`, `sft`, a source's name,
 * or `target:NAME`.
 */
export type ChatModel = string;

export interface Sampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly maxNewTokens: number;
}

export interface ChatToken {
  readonly text: string;
  readonly probability: number;
}

export interface ChatResult {
  readonly text: string;
  readonly stop: 'end' | 'length' | 'interrupted';
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

export interface NextToken {
  readonly text: string;
  readonly probability: number;
}

/** One of the forms in which the hub has a model. */
export interface HubForm {
  /** Names it to `hubGet`, at the commit that was looked at. */
  readonly reference: string;
  readonly format: HeldModel['format'];
  /** `Q4_K_M`, `BF16`. */
  readonly label: string;
  /** The GGUF or ONNX file; absent for a folder of safetensors. */
  readonly file?: string;
  readonly bytes: number;
  readonly here: boolean;
  /** Whether it is what was asked for, or the one to recommend. */
  readonly chosen: boolean;
}

/** What the hub says of a model, before anything of it is downloaded. */
export interface HubModelInfo {
  readonly id: string;
  readonly revision: string;
  readonly commit: string;
  /** Its address on the hub. */
  readonly page: string;
  readonly licence?: string;
  /** Whether its terms have to be accepted on its page. */
  readonly gated: boolean;
  /** Where the hub cannot be reached and this is what was known before: why. */
  readonly stale?: string;
  readonly forms: readonly HubForm[];
  /** Bytes that can still be stored, null where the browser does not say. */
  readonly freeBytes: number | null;
}

/** What a download tells. */
export type HubEvent =
  | {
      readonly kind: 'progress';
      readonly file: string;
      readonly done: number;
      readonly total: number;
      readonly bytesPerSecond?: number;
      readonly secondsLeft?: number;
    }
  /** It waits, or does something again; one sentence. */
  | { readonly kind: 'note'; readonly text: string };

/** Downloaded models, and the space that is left for more. */
export interface HubShelfView {
  readonly models: readonly HeldModel[];
  readonly freeBytes: number | null;
}

/** A change of one field of a recipe that makes its run smaller. */
export interface RecipeStep {
  /** Dotted path, such as `train.recompute`. */
  readonly path: string;
  readonly value: unknown;
  /** What it means, as half a sentence. */
  readonly what: string;
}

/** What a run will take on the GPU, before it begins. */
export interface MemoryForecast {
  /** The phase that takes most, with what for. */
  readonly peak: {
    readonly phase: string;
    readonly bytes: number;
    readonly parts: Readonly<Record<string, number>>;
  };
  readonly phases: readonly { readonly phase: string; readonly bytes: number }[];
  readonly limitBytes?: number;
  readonly fits: boolean;
  /** Why this adapter cannot run it, however much memory there is. */
  readonly problem?: string;
  /** What the run will choose by itself, where the recipe leaves it open. */
  readonly chosen: readonly RecipeStep[];
  /** What single changes would save. */
  readonly suggestions: readonly (RecipeStep & { readonly bytes: number; readonly savesBytes: number })[];
  /** Where it does not fit: the least that makes it fit, or the smallest that there is. */
  readonly smaller?: {
    readonly fits: boolean;
    readonly bytes: number;
    readonly steps: readonly RecipeStep[];
  };
}

/** The worker's interface. Every method may reject with an `AlloyError` (as `{ name, code, message }`). */
export interface Engine {
  /**
   * Opens the device that is chosen, by default as before; one that was open is closed when another choice is made.
   * Rejects with `no-webgpu` where no device can be had, with `bad-argument` while a fusion is running.
   */
  open(choice?: DeviceChoice): Promise<DeviceReport>;
  /** Resolves with the reason when the device is lost. */
  deviceLost(): Promise<string>;
  memory(): Promise<MemoryReport>;
  /** Plans a run from what the models' files say of them, without loading anything. */
  planMemory(recipe: Recipe): Promise<MemoryForecast>;
  /** The built-in models and those of the hub that are here. */
  models(): Promise<readonly ModelCard[]>;
  /** The built-in sample's recipe, its models and its conversations. */
  sample(): Promise<{ recipe: Recipe; train: readonly Conversation[]; heldout: readonly Conversation[] }>;
  /** Tokens of a text under a model, without running it. */
  tokenize(
    model: string,
    text: string,
  ): Promise<readonly { id: number; text: string; start: number; end: number }[]>;
  /** Runs the recipe's pivot and a source over one conversation and aligns them as a run of the recipe would. */
  align(recipe: Recipe, source: string, conversation: Conversation): Promise<AlignmentView>;
  /** Runs a recipe; finished stages are not run again. Resolves when done or stopped. */
  fuse(recipe: Recipe, onEvent: (event: RunEvent) => void): Promise<'done' | 'stopped'>;
  /**
   * Brings back the finished run of a recipe, as `fuse` left it, if every result is still there; works nothing out.
   * @returns false, with the fusion as it was, where something is missing
   */
  reopen(recipe: Recipe, onEvent: (event: RunEvent) => void): Promise<boolean>;
  /** @throws AlloyError `bad-recipe` naming every wrong field */
  checkRecipe(recipe: Recipe): Promise<Recipe>;
  command(command: RunCommand): Promise<void>;
  /** The merge of the last finished run. */
  mergeView(): Promise<MergeView>;
  /** Writes weights of single cells; the fused model changes with the next token. */
  setWeights(
    cells: readonly { layer: number; matrix: string; source: number; weight: number }[],
  ): Promise<void>;
  setMethod(method: 'sce' | 'linear'): Promise<MergeView>;
  /** NLL per byte of the fused model on a few held-out conversations. */
  probe(): Promise<{ nllPerByte: number; ms: number }>;
  /** Streams an answer. */
  chat(
    model: ChatModel,
    messages: readonly Message[],
    sampling: Sampling,
    onToken: (token: ChatToken) => void,
  ): Promise<ChatResult>;
  interrupt(): Promise<void>;
  /** The most likely next tokens after the rendered conversation. */
  nextTokens(model: ChatModel, messages: readonly Message[], count: number): Promise<readonly NextToken[]>;
  /** What the person set; kept in the worker's memory alone. */
  hubSettings(settings: HubSettings): Promise<void>;
  /** Looks a model up by `hub:OWNER/NAME`, its id or its address. */
  hubLook(text: string): Promise<HubModelInfo>;
  /** Downloads a model, goes on with one that was stopped, and opens it once to see that it can be used. */
  hubGet(reference: string, onEvent: (event: HubEvent) => void): Promise<ModelCard>;
  /** Stops the download; what came is kept. */
  hubStop(): Promise<void>;
  hubList(): Promise<HubShelfView>;
  /** @returns the bytes that became free */
  hubRemove(reference: string): Promise<number>;
  /** @returns the files whose content was damaged, which are gone now */
  hubVerify(reference: string): Promise<readonly string[]>;
}
