/** The hub for the command line: where models are kept, what options and the environment say, and how a download is told. */

import { HubModels } from '../pipeline/hubModels.ts';
import type { PlannedModel } from '../pipeline/memoryPlan.ts';
import type { OpenModel } from '../pipeline/openModel.ts';
import type { GetOptions, TransferState } from '../storage/hub/cache.ts';
import type { TransferNote } from '../storage/hub/download.ts';
import type { HubRecord } from '../storage/hub/records.ts';
import { modelCacheFolder } from '../storage/nodeFolders.ts';
import { NodeStorage } from '../storage/nodeStorage.ts';
import { formatBytes } from '../util/bytes.ts';
import { AlloyError } from '../util/errors.ts';
import { TransferRate } from '../util/transferRate.ts';
import type { Arguments } from './command.ts';
import type { Progress } from './progress.ts';
import type { Terminal } from './terminal.ts';

/** What every command takes, since every model may be one of the hub. */
export const HUB_OPTIONS = {
  revision: { type: 'string' },
  token: { type: 'string' },
  endpoint: { type: 'string' },
  offline: { type: 'boolean' },
} as const;

export const HUB_HELP = `For models of the hub:
  --revision R   a branch, tag or commit, for those that name none (default main)
  --token T      for gated models; better in the environment variable HF_TOKEN, where nobody sees it
  --endpoint U   the hub or mirrors of it, commas between (default $HF_ENDPOINT, else https://huggingface.co)
  --offline      fetch nothing; use what was got before (also HF_HUB_OFFLINE=1)
`;

/** Models of the hub, told on the terminal. */
export class HubShelf {
  readonly models: HubModels;
  readonly #terminal: Terminal;
  readonly #progress: Progress;

  /** @throws AlloyError `bad-argument` for an endpoint or token that is none */
  constructor(terminal: Terminal, progress: Progress, args: Arguments) {
    const { environment } = terminal;
    const set = (name: string) => environment[name]?.trim() || undefined;
    const endpoints = args.text('endpoint') ?? set('ALLOY_HUB_ENDPOINT') ?? set('HF_ENDPOINT');
    const token = args.text('token') ?? set('HF_TOKEN') ?? set('HUGGING_FACE_HUB_TOKEN');
    this.#terminal = terminal;
    this.#progress = progress;
    this.models = new HubModels(new NodeStorage(modelCacheFolder(environment)), {
      endpoints: endpoints?.split(/[\s,]+/u).filter((one) => one !== ''),
      token,
      tokenPlace: 'with --token or in the environment variable HF_TOKEN',
      offline: args.flag('offline') || /^(?:1|true|yes|on)$/iu.test(set('HF_HUB_OFFLINE') ?? ''),
      revision: args.text('revision'),
    });
  }

  async open(text: string): Promise<OpenModel> {
    return this.models.openRecord(await this.get(text));
  }

  /** A model without its weights, see `HubModels.planned`. */
  planned(text: string): Promise<PlannedModel | undefined> {
    return this.watched((options) => this.models.planned(text, options), `Looking at ${text}`);
  }

  /** Gets a model; Ctrl-C ends that and keeps what came. */
  get(text: string): Promise<HubRecord> {
    return this.watched((options) => this.models.get(text, options), `Getting ${text}`);
  }

  /** Runs something that may fetch, with its progress on the terminal. */
  async watched<T>(run: (options: GetOptions) => Promise<T>, label: string): Promise<T> {
    const abort = new AbortController();
    const release = this.#terminal.onInterrupt(() => {
      abort.abort(new AlloyError('cancelled', 'It was stopped; run it again to go on where it was.'));
    });
    const rate = new TransferRate();
    const onProgress = ({ file, done, total, received }: TransferState) => {
      const pace = rate.update(received, total - done);
      const speed = pace ? `, ${formatBytes(pace.bytesPerSecond)}/s` : '';
      const count = `${file}, ${formatBytes(done)} of ${formatBytes(total)}${speed}`;
      this.#progress.update(label, done, total, pace?.secondsLeft, count);
    };
    const onNote = (note: TransferNote) => this.#progress.note(noteText(note));
    const onStale = (reason: string) => {
      if (reason !== 'offline') this.#progress.note(`Using what was got before: ${reason}`);
    };
    try {
      return await run({ signal: abort.signal, onProgress, onNote, onStale });
    } catch (error) {
      if (!(error instanceof AlloyError && error.code === 'disk-full')) throw error;
      throw new AlloyError('disk-full', `${error.message} (alloy models rm MODEL deletes one)`, {
        cause: error,
      });
    } finally {
      release();
    }
  }
}

function noteText(note: TransferNote): string {
  switch (note.kind) {
    case 'elsewhere':
      return `Another program is getting ${note.file}; waiting for it.`;
    case 'waiting':
      return `Waiting ${note.seconds} s before the next try: ${note.reason}`;
    case 'again':
      return `${note.file} did not come as the hub says; getting it once more.`;
    default:
      return note satisfies never;
  }
}
