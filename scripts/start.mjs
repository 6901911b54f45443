/*
 * `npm start`: installs what is missing, builds the studio, serves it to this machine alone and opens it.
 * Options: --port N, --no-build (serve what was built), --no-open, --browser default (the system's browser).
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findChromium } from './setup/chromium.mjs';
import { ensureModules } from './setup/modules.mjs';
import { root, run, runMain, SetupError, say } from './setup/process.mjs';
import { serve } from './setup/serve.mjs';

const built = join(root, 'dist', 'app');

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string' },
        'no-build': { type: 'boolean' },
        'no-open': { type: 'boolean' },
        browser: { type: 'string' },
      },
    });
    const port = values.port === undefined ? undefined : Number(values.port);
    if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port < 65536)) {
      throw new SetupError(`--port ${values.port} is not a port; give a number from 0 to 65535.`);
    }
    return {
      port,
      build: !values['no-build'],
      open: !values['no-open'],
      systemBrowser: values.browser === 'default',
    };
  } catch (error) {
    if (error instanceof SetupError) throw error;
    throw new SetupError(`${error instanceof Error ? error.message : error}`);
  }
}

/** Whether a window can be opened at all. */
function hasDisplay() {
  if (process.env.CI) return false;
  return process.platform !== 'linux' || Boolean(process.env.DISPLAY || process.env.WAYLAND_DISPLAY);
}

/**
 * On Linux a browser offers WebGPU only behind flags on many GPUs, so the studio gets a profile of its own there with the
 * flags set; elsewhere the system's browser is right.
 * @param {string} url
 * @param {boolean} systemBrowser
 * @returns {Promise<readonly [string, readonly string[]]>}
 */
async function browserCommand(url, systemBrowser) {
  if (process.platform === 'darwin') return ['open', [url]];
  if (process.platform === 'win32') return ['cmd', ['/c', 'start', '', url]];
  const chromium = systemBrowser ? undefined : await findChromium();
  if (!chromium) return ['xdg-open', [url]];
  const profile = join(process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'alloy', 'chromium');
  return [
    chromium,
    [
      `--user-data-dir=${profile}`,
      '--no-first-run',
      '--enable-unsafe-webgpu',
      '--enable-features=Vulkan',
      '--ignore-gpu-blocklist',
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      url,
    ],
  ];
}

async function main() {
  const { port, build, open, systemBrowser } = readOptions();
  await ensureModules();
  if (build) {
    say('Building the studio (vite build)');
    const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js');
    const code = await run(process.execPath, [vite, 'build', '--logLevel', 'error'], { stdout: 'stderr' });
    if (code !== 0) throw new SetupError('The studio could not be built; the reason is above.');
  } else if (!existsSync(join(built, 'index.html'))) {
    throw new SetupError('The studio has not been built yet; leave out --no-build.');
  }
  const { server, url } = await serve(built, {
    port: port ?? 4173,
    attempts: port === undefined ? 100 : 1,
  }).catch((error) => {
    throw new SetupError(`The studio cannot be served (${error.message}); choose another port with --port.`);
  });
  process.stdout.write(`Alloy is at ${url}  (Ctrl-C ends it)\n`);
  if (open && hasDisplay()) {
    const [command, args] = await browserCommand(url, systemBrowser);
    const browser = spawn(command, args, { stdio: 'ignore', detached: true });
    browser.on('error', () => say(`No browser could be opened; open ${url} yourself.`));
    browser.unref();
  }
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.closeAllConnections());
  await new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close(resolve));
  });
  return 0;
}

await runMain(main);
