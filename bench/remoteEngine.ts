import { type ChildProcess, fork } from 'node:child_process';
import type { AskedEngine, Reply, Request } from './requests.ts';
import { type Target, targetName, WEBGPU } from './target.ts';

/** An engine in a process of its own, as the parent sees it. */
export class RemoteEngine implements AskedEngine {
  readonly name: string;
  #child: ChildProcess;
  /** Why the engine can no longer be asked. */
  #gone: string | undefined;

  /**
   * @param program the bundled bench, which serves an engine when started with `--worker NAME`
   * @param options.label what it is called among the results; its name unless told
   * @param options.environment added to that of this process
   */
  constructor(
    program: string,
    name: string,
    {
      target = WEBGPU,
      label = name,
      environment = {},
    }: { target?: Target; label?: string; environment?: Readonly<Record<string, string>> } = {},
  ) {
    this.name = label;
    this.#child = fork(program, ['--worker', name, targetName(target)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, ...environment },
    });
    let lastWords = '';
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      lastWords = `${lastWords}${chunk}`.slice(-2000);
    });
    this.#child.on('exit', (code, signal) => {
      const line = lastWords.trim().split('\n').at(-1) ?? '';
      this.#gone = `its process ended (${signal ?? `exit code ${code}`}) ${line}`.trim();
    });
  }

  ask(request: Request): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const fail = (reason: string) => reject(new Error(`${this.name}: ${reason}`));
      if (this.#gone) return fail(this.#gone);
      const onExit = () => {
        this.#child.off('message', onMessage);
        fail(this.#gone ?? 'its process ended');
      };
      const onMessage = (reply: Reply) => {
        this.#child.off('exit', onExit);
        if (reply.error === undefined) resolve(reply);
        else fail(reply.error);
      };
      this.#child.once('message', onMessage).once('exit', onExit);
      this.#child.send(request);
    });
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}
