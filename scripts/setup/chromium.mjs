import { join } from 'node:path';
import { canInstall, install } from './apt.mjs';
import { capture, isFile, SetupError, say, which } from './process.mjs';

const NAMES = [
  'chromium',
  'chromium-browser',
  'google-chrome',
  'google-chrome-stable',
  'chrome',
  'microsoft-edge',
];

/** @returns {string[]} places outside PATH */
function usualPlaces() {
  if (process.platform === 'darwin') {
    return ['Google Chrome', 'Chromium', 'Microsoft Edge'].map(
      (name) => `/Applications/${name}.app/Contents/MacOS/${name}`,
    );
  }
  if (process.platform === 'win32') {
    return ['PROGRAMFILES', 'PROGRAMFILES(X86)', 'LOCALAPPDATA'].flatMap((name) => {
      const folder = process.env[name];
      return folder
        ? [
            join(folder, 'Google/Chrome/Application/chrome.exe'),
            join(folder, 'Microsoft/Edge/Application/msedge.exe'),
          ]
        : [];
    });
  }
  return [];
}

/** Ubuntu's `chromium-browser` may be a stub that only says how to install the real one. */
/** @param {string} path */
function starts(path) {
  if (process.platform !== 'linux') return true;
  return capture(path, ['--version'], { timeoutMs: 30_000 }) !== undefined;
}

/** @returns {Promise<string | undefined>} the one that Playwright may have installed */
async function playwrightsOwn() {
  try {
    const { chromium } = await import('@playwright/test');
    return chromium.executablePath();
  } catch {
    return undefined;
  }
}

/**
 * A Chromium or Chrome of this machine: the variable `ALLOY_CHROMIUM`, else from PATH, the usual places, or Playwright's.
 * @returns {Promise<string | undefined>}
 */
export async function findChromium() {
  const named = process.env.ALLOY_CHROMIUM;
  if (named) {
    if (isFile(named)) return named;
    throw new SetupError(`ALLOY_CHROMIUM names ${named}, which is not a file; correct it or leave it unset.`);
  }
  const paths = [...NAMES.map(which), ...usualPlaces(), await playwrightsOwn()];
  return paths.find((path) => path !== undefined && isFile(path) && starts(path));
}

/** Finds a Chromium, or installs Debian's. @returns {Promise<string>} */
export async function ensureChromium() {
  const found = await findChromium();
  if (found) return found;
  if (process.platform === 'linux' && canInstall()) {
    say('No Chromium or Chrome: installing one');
    await install(['chromium', 'fonts-liberation']);
    const installed = await findChromium();
    if (installed) return installed;
  }
  throw new SetupError(
    'No Chromium or Chrome was found: install one (on Debian the packages chromium and fonts-liberation), or set ALLOY_CHROMIUM to its path.',
  );
}
