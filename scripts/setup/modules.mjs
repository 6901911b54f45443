import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, SetupError, say } from './process.mjs';

/**
 * @typedef {{ version?: string, optional?: boolean, devOptional?: boolean, link?: boolean }} LockedPackage
 * @typedef {Record<string, LockedPackage>} LockedPackages
 */

/**
 * Whether what is installed is what the lockfile asks for. Compares contents, not times: a clone, a pull and an archive
 * set times as they like. Packages for other platforms are optional and may be absent.
 * @param {LockedPackages} wanted `packages` of package-lock.json
 * @param {LockedPackages} installed `packages` of node_modules/.package-lock.json
 */
export function isInstalled(wanted, installed) {
  return Object.entries(wanted).every(([path, { version, optional, devOptional }]) => {
    if (path === '') return true;
    const found = installed[path];
    return found ? found.version === version : optional === true || devOptional === true;
  });
}

/** @param {string} file @returns {LockedPackages | undefined} */
function readLock(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Installs the packages of the lockfile when they are missing or of another version. */
export async function ensureModules() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new SetupError(
      `Alloy needs Node 20.19 or newer, this is ${process.versions.node}; install a newer Node.`,
    );
  }
  const wanted = readLock('package-lock.json');
  if (!wanted)
    throw new SetupError('package-lock.json is missing or damaged; restore it from the repository.');
  const installed = readLock('node_modules/.package-lock.json');
  if (installed && isInstalled(wanted, installed)) return;
  // With packages there already, an update disturbs a running program less than starting over would.
  const args = installed ? ['install', '--no-save'] : ['ci'];
  say(`Installing packages (npm ${args.join(' ')})`);
  const code = await npm([...args, '--no-audit', '--no-fund', '--loglevel=error']);
  if (code !== 0) {
    throw new SetupError(
      `npm ${args.join(' ')} failed (exit code ${code}); check the network and run the command again.`,
    );
  }
}

/** @param {readonly string[]} args */
function npm(args) {
  // Under `npm test` npm names itself; this also avoids the .cmd file that Windows cannot spawn.
  const self = process.env.npm_execpath;
  return self?.endsWith('.js')
    ? run(process.execPath, [self, ...args], { stdout: 'stderr' })
    : run('npm', args, { stdout: 'stderr' });
}
