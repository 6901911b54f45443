import type { Device } from '../device/device.ts';
import type { Storage } from '../storage/storage.ts';
import { AlloyError } from '../util/errors.ts';
import { Aligner } from './aligner.ts';
import { ArtifactStore } from './artifactStore.ts';
import { BuiltinModels } from './builtinModels.ts';
import type { DeviceChoice } from './deviceChoice.ts';
import type { DeviceSession } from './deviceSession.ts';
import { EventPacer } from './eventPacer.ts';
import { runFusion } from './fusionRun.ts';
import type { Host } from './host.ts';
import { type HubSettings, isHubText } from './hubModels.ts';
import { JobControl } from './jobControl.ts';
import { LiveFusion } from './liveFusion.ts';
import { forecastRun } from './memoryForecast.ts';
import type { CellChange } from './mergeView.ts';
import type { ModelRunner } from './modelRunner.ts';
import type { OpenModel } from './openModel.ts';
import { dataPath, projectText, SAMPLE_RECIPE } from './projectFiles.ts';
import type {
  AlignmentView,
  ChatModel,
  ChatResult,
  ChatToken,
  Conversation,
  DeviceReport,
  Engine,
  HubEvent,
  HubModelInfo,
  HubShelfView,
  MemoryForecast,
  MemoryReport,
  MergeView,
  Message,
  ModelCard,
  NextToken,
  Report,
  RunCommand,
  RunEvent,
  Sampling,
} from './protocol.ts';
import { parseRecipe, type Recipe } from './recipe.ts';
import { readRecipe } from './recipeFile.ts';
import { loadData } from './runData.ts';
import { SessionKeeper } from './sessionKeeper.ts';
import { StudioHub } from './studioHub.ts';
import { tokenSpans } from './tokenSpans.ts';

/** The engine behind the studio: everything the page can ask for, over whatever host it runs in. */
export class StudioEngine implements Engine {
  readonly #host: Host;
  readonly #models: BuiltinModels;
  readonly #hub: StudioHub;
  readonly #keeper: SessionKeeper;
  #storage: Promise<Storage> | undefined;
  #store: Promise<ArtifactStore> | undefined;
  #sample: Promise<Sample> | undefined;
  #recipe: Recipe | undefined;
  #aligner = new Aligner();
  #job: JobControl | undefined;
  #live: LiveFusion | undefined;
  #interruption = new AbortController();
  /** How runs and their plans get at models and data. */
  readonly #reading = {
    openModel: (reference: string) => this.#openModel(reference),
    readText: (path: string) => this.#readData(path),
  };

  constructor(host: Host) {
    this.#host = host;
    this.#models = new BuiltinModels((path) => host.openFile(path));
    this.#hub = new StudioHub(() => this.#files());
    this.#keeper = new SessionKeeper(host, {
      openModel: (name) => this.#openModel(name),
      onLost: () => {
        this.#aligner = new Aligner();
      },
    });
  }

  open(choice?: DeviceChoice): Promise<DeviceReport> {
    return this.#keeper.open(choice, this.#job !== undefined);
  }

  async deviceLost(): Promise<string> {
    return (await this.#keeper.opened()).lost;
  }

  memory(): Promise<MemoryReport> {
    return this.#onDevice(async ({ device: { stats } }) => ({
      bytes: stats.bytes,
      peakBytes: stats.peakBytes,
    }));
  }

  async planMemory(recipe: Recipe): Promise<MemoryForecast> {
    const session = await this.#keeper.opened().catch(() => undefined);
    return forecastRun(this.#reading, parseRecipe(recipe, 'The recipe'), session?.device ?? {});
  }

  async models(): Promise<readonly ModelCard[]> {
    return [...(await this.#models.cards()), ...(await this.#hub.cards())];
  }

  async hubSettings(settings: HubSettings): Promise<void> {
    this.#hub.settings(settings);
  }

  hubLook(text: string): Promise<HubModelInfo> {
    return this.#hub.look(text);
  }

  hubGet(reference: string, onEvent: (event: HubEvent) => void): Promise<ModelCard> {
    return this.#hub.get(reference, onEvent);
  }

  async hubStop(): Promise<void> {
    this.#hub.stop();
  }

  hubList(): Promise<HubShelfView> {
    return this.#hub.list();
  }

  hubRemove(reference: string): Promise<number> {
    return this.#hub.remove(reference);
  }

  hubVerify(reference: string): Promise<readonly string[]> {
    return this.#hub.verify(reference);
  }

  sample(): Promise<Sample> {
    this.#sample ??= this.#readSample().catch((error) => {
      this.#sample = undefined;
      throw error;
    });
    return this.#sample;
  }

  async tokenize(
    model: string,
    text: string,
  ): Promise<readonly { id: number; text: string; start: number; end: number }[]> {
    return tokenSpans((await this.#openModel(model)).text.tokenizer, text);
  }

  async align(recipe: Recipe, source: string, conversation: Conversation): Promise<AlignmentView> {
    const { pivot, fuse, align } = this.#take(recipe);
    const [ours, theirs] = await Promise.all([this.#openModel(pivot), this.#openModel(source)]);
    const options = { loss: fuse.loss, choice: fuse.choice, minimumMass: align.minimumMass };
    return this.#onDevice(({ shelf }) => this.#aligner.align(shelf, ours, theirs, conversation, options));
  }

  async fuse(recipe: Recipe, onEvent: (event: RunEvent) => void): Promise<'done' | 'stopped'> {
    const checked = this.#take(recipe);
    const pacer = new EventPacer(onEvent);
    return this.#asJob(pacer, async (job, take) => {
      const store = await this.#artifacts();
      let [reused, made] = [0, 0];
      const report = await this.#onDevice(({ device }) =>
        this.#run(device, checked, job, (event) => {
          if (event.kind === 'stage' && event.cached) reused++;
          else if (event.kind === 'stage' && event.stage !== 'merge') made++;
          take(event);
        }),
      );
      const told: Report = { ...report, ...(reused > 0 && { reused }) };
      const key = await reportKey(store, checked);
      // Of a run in which nothing was left to do the first report says how long it took.
      if (made > 0 || !(await store.readJson('report', key))) await store.writeJson('report', key, told);
      tellEnd(pacer, told);
    });
  }

  async reopen(recipe: Recipe, onEvent: (event: RunEvent) => void): Promise<boolean> {
    const checked = this.#take(recipe);
    const store = await this.#artifacts();
    const kept = await store.readJson<Report>('report', await reportKey(store, checked));
    if (!kept) return false;
    const pacer = new EventPacer(onEvent);
    try {
      const outcome = await this.#asJob(pacer, async (job, take) => {
        const report = await this.#onDevice(({ device }) => this.#run(device, checked, job, take, true));
        const { seconds, device, peakBytes, reused } = kept;
        tellEnd(pacer, { ...report, seconds, device, peakBytes, ...(reused !== undefined && { reused }) });
      });
      return outcome === 'done';
    } catch (error) {
      if (error instanceof AlloyError && error.code === 'cancelled') return false;
      throw error;
    }
  }

  async checkRecipe(recipe: Recipe): Promise<Recipe> {
    return this.#take(recipe);
  }

  /** Checks a recipe, which is then the current one. */
  #take(recipe: Recipe): Recipe {
    this.#recipe = parseRecipe(recipe, 'The recipe');
    return this.#recipe;
  }

  /**
   * Does one run; only one at a time. Where the device is lost under it, it goes on once with another one.
   * @param work gets a taker of what the run tells before its end
   */
  async #asJob(
    pacer: EventPacer,
    work: (job: JobControl, take: (event: RunEvent) => void) => Promise<void>,
  ): Promise<'done' | 'stopped'> {
    if (this.#job) {
      throw new AlloyError('bad-argument', 'A fusion is running already; stop it before another one starts.');
    }
    const begin = () => {
      const job = new JobControl((state) => pacer.send({ kind: 'state', state }));
      this.#job = job;
      return job;
    };
    let job = begin();
    const attempt = async (mine: JobControl) => {
      await work(mine, (event) => {
        // The merge can be used when the run is over, since its models are evaluated one after the other in its place.
        const last = event.kind === 'merged' || event.kind === 'report' || event.kind === 'done';
        if (!last && this.#job === mine) pacer.send(event);
      });
    };
    try {
      try {
        await attempt(job);
      } catch (error) {
        if (job.stopped || !(error instanceof AlloyError && error.code === 'device-lost')) throw error;
        const { paused } = job;
        // Work that a lost device left behind must not go on.
        job.command('stop');
        job = begin();
        if (paused) job.command('pause');
        await this.open();
        pacer.send({ kind: 'reopened', reason: error.message });
        await attempt(job);
      }
      return 'done';
    } catch (error) {
      pacer.flush();
      if (job.stopped && error instanceof AlloyError && error.code === 'cancelled') return 'stopped';
      job.command('stop');
      throw error;
    } finally {
      this.#job = undefined;
    }
  }

  async command(command: RunCommand): Promise<void> {
    this.#job?.command(command);
  }

  mergeView(): Promise<MergeView> {
    return this.#onFusion((fusion, device) => fusion.view(device));
  }

  setWeights(cells: readonly CellChange[]): Promise<void> {
    return this.#onFusion((fusion, device) => fusion.setWeights(device, cells));
  }

  setMethod(method: 'sce' | 'linear'): Promise<MergeView> {
    return this.#onFusion((fusion, device) => fusion.setMethod(device, method));
  }

  probe(): Promise<{ nllPerByte: number; ms: number }> {
    return this.#onFusion((fusion, device) => fusion.probe(device));
  }

  chat(
    model: ChatModel,
    messages: readonly Message[],
    sampling: Sampling,
    onToken: (token: ChatToken) => void,
  ): Promise<ChatResult> {
    return this.#withModel(model, (runner, signal) => runner.answer(messages, sampling, onToken, signal));
  }

  async interrupt(): Promise<void> {
    this.#interruption.abort();
    this.#interruption = new AbortController();
  }

  nextTokens(model: ChatModel, messages: readonly Message[], count: number): Promise<readonly NextToken[]> {
    return this.#withModel(model, (runner) => runner.nextTokens(messages, count));
  }

  async #readSample(): Promise<Sample> {
    const recipe = readRecipe(await projectText(this.#host, SAMPLE_RECIPE), SAMPLE_RECIPE);
    const { train, suites } = await loadData({ readText: (path) => this.#readData(path) }, recipe);
    return { recipe, train, heldout: suites.flatMap(({ conversations }) => conversations) };
  }

  #readData(path: string): Promise<string> {
    return projectText(this.#host, dataPath(path));
  }

  /** Runs a recipe and puts its fusion in the place of the last one. */
  async #run(
    device: Device,
    recipe: Recipe,
    control: JobControl,
    onEvent: (event: RunEvent) => void,
    keptOnly = false,
  ): Promise<Report> {
    const context = {
      device,
      keptOnly,
      store: await this.#artifacts(),
      control,
      ...this.#reading,
      onEvent,
    };
    const { suites } = await loadData(context, recipe);
    const result = await runFusion(context, recipe);
    const before = this.#live;
    this.#live = new LiveFusion(device, result, suites);
    before?.close().catch(() => undefined);
    return result.report;
  }

  /** A built-in model, or one of the hub that is here. */
  #openModel(name: string): Promise<OpenModel> {
    return isHubText(name) ? this.#hub.open(name) : this.#models.open(name);
  }

  /** One storage for all, since opening one clears up behind writers that died. */
  #files(): Promise<Storage> {
    this.#storage ??= this.#host.storage();
    return this.#storage;
  }

  #artifacts(): Promise<ArtifactStore> {
    this.#store ??= this.#files().then((storage) => new ArtifactStore(storage));
    return this.#store;
  }

  /** Runs a job with a model of the last fusion, or with a built-in one. */
  async #withModel<T>(
    model: ChatModel,
    job: (runner: ModelRunner, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { signal } = this.#interruption;
    const live = this.#live;
    if (live?.has(model)) return this.#onDevice(({ device }) => live.use(device, model, signal, job));
    const name = model === 'pivot' ? (this.#recipe ?? (await this.sample()).recipe).pivot : model;
    if (name === 'fused' || name === 'sft' || name.startsWith('target:')) throw noFusion();
    return this.#onDevice(({ shelf }) => shelf.use(name, (runner) => job(runner, signal)));
  }

  #onFusion<T>(job: (fusion: LiveFusion, device: Device) => Promise<T>): Promise<T> {
    const live = this.#live;
    if (!live) return Promise.reject(noFusion());
    return this.#onDevice(({ device }) => job(live, device));
  }

  async #onDevice<T>(job: (session: DeviceSession) => Promise<T>): Promise<T> {
    return (await this.#keeper.opened()).run(job);
  }
}

/** Counts up when a kept report cannot be read any more. */
const REPORT_VERSION = 1;

const reportKey = (store: ArtifactStore, recipe: Recipe) => store.key('report', REPORT_VERSION, recipe);

function tellEnd(pacer: EventPacer, report: Report): void {
  pacer.send({ kind: 'merged' });
  pacer.send({ kind: 'report', report });
  pacer.send({ kind: 'done' });
}

type Sample = Awaited<ReturnType<Engine['sample']>>;

function noFusion(): AlloyError {
  return new AlloyError('bad-argument', 'There is no finished fusion yet; run one first.');
}
