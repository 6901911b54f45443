import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { capture, run, SetupError, say, which } from './process.mjs';

/**
 * @typedef {{ id: string, version: number, codename: string }} Release
 * @typedef {{ name: string, text: string }} SourceFile
 */

/**
 * @param {string} text contents of /etc/os-release
 * @returns {Release}
 */
export function parseRelease(text) {
  /** @param {string} key */
  const value = (key) => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return {
    id: value('ID'),
    version: Number.parseInt(value('VERSION_ID'), 10),
    codename: value('VERSION_CODENAME'),
  };
}

/** @returns {Release | undefined} */
export function readRelease() {
  try {
    return parseRelease(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    return undefined;
  }
}

/** @param {string} stanza of a deb822 file @param {string} key @returns {string} the field's first line */
function field(stanza, key) {
  return new RegExp(`^${key}:[ \t]*(.*)$`, 'im').exec(stanza)?.[1]?.trim() ?? '';
}

/** Debian's own archive and not another vendor's that also calls a suite by the release's name. */
/** @param {string} uris @param {string} signedBy @param {readonly string[]} components */
function isDebianArchive(uris, signedBy, components) {
  return components.includes('main') && (/debian/i.test(uris) || /debian-archive/i.test(signedBy));
}

/** @param {string} text deb822 @returns {{ stanza: string, suites: string[], debian: boolean }[]} */
function readStanzas(text) {
  const withoutComments = text.replace(/^#.*\n?/gm, '');
  return withoutComments
    .split(/\n[ \t]*\n/)
    .filter(
      (stanza) => /\bdeb\b/.test(field(stanza, 'Types')) && field(stanza, 'Enabled').toLowerCase() !== 'no',
    )
    .map((stanza) => ({
      stanza: stanza.trim(),
      suites: field(stanza, 'Suites').split(/\s+/),
      debian: isDebianArchive(
        field(stanza, 'URIs'),
        field(stanza, 'Signed-By'),
        field(stanza, 'Components').split(/\s+/),
      ),
    }));
}

/** @param {string} text one-line format @returns {{ options: string, uri: string, suite: string, rest: string }[]} */
function readLines(text) {
  return [...text.matchAll(/^[ \t]*deb[ \t]+(\[[^\]]*\][ \t]+)?(\S+)[ \t]+(\S+)[ \t]+(.*)$/gm)].map(
    ([, options = '', uri = '', suite = '', rest = '']) => ({
      options,
      uri,
      suite,
      rest: rest.replace(/#.*/, '').trim(),
    }),
  );
}

/**
 * A source file for `target`, made from the machine's own source of the release, so that no mirror is named here.
 * @param {readonly SourceFile[]} files the machine's apt sources
 * @param {string} suite e.g. `bookworm`
 * @param {string} target e.g. `bookworm-backports`
 * @returns {'present' | SourceFile | undefined} `present` when some source has the target already, undefined when the
 *   release's own source is not found
 */
export function sourceFor(files, suite, target) {
  const stanzas = files
    .filter(({ name }) => name.endsWith('.sources'))
    .flatMap(({ text }) => readStanzas(text));
  const lines = files.filter(({ name }) => name.endsWith('.list')).flatMap(({ text }) => readLines(text));
  if (stanzas.some(({ suites }) => suites.includes(target)) || lines.some((line) => line.suite === target)) {
    return 'present';
  }
  const stanza = stanzas.find(({ suites, debian }) => debian && suites.includes(suite))?.stanza;
  if (stanza) {
    const text = stanza
      .replace(/^Suites:.*(\n[ \t].*)*/im, `Suites: ${target}`)
      .replace(/^Types:.*/im, 'Types: deb')
      .replace(/^Components:.*(\n[ \t].*)*/im, 'Components: main');
    return { name: `${target}.sources`, text: `${text}\n` };
  }
  const line = lines.find(
    ({ suite: name, uri, options, rest }) =>
      name === suite && isDebianArchive(uri, options, rest.split(/\s+/)),
  );
  return line && { name: `${target}.list`, text: `deb ${line.options}${line.uri} ${target} main\n` };
}

/** @returns {SourceFile[]} */
function readSources() {
  /** @type {SourceFile[]} */
  const files = [];
  /** @param {string} path */
  const add = (path) => {
    try {
      files.push({ name: path, text: readFileSync(path, 'utf8') });
    } catch {
      // Debian 13 has no sources.list, a slim image may lack the folder.
    }
  };
  add('/etc/apt/sources.list');
  try {
    for (const name of readdirSync('/etc/apt/sources.list.d').sort())
      add(join('/etc/apt/sources.list.d', name));
  } catch {
    // No folder, no files.
  }
  return files;
}

/** The words that make a command run as root, or undefined when this person cannot. @returns {string[] | undefined} */
function asRoot() {
  if (process.getuid?.() === 0) return [];
  if (!which('sudo')) return undefined;
  if (capture('sudo', ['-n', 'true']) !== undefined) return ['sudo', '-n'];
  return process.stdin.isTTY ? ['sudo'] : undefined;
}

/** Whether packages can be installed here: an apt system, and root or sudo. */
export function canInstall() {
  return which('apt-get') !== undefined && asRoot() !== undefined;
}

let updated = false;

/**
 * Installs Debian packages.
 * @param {readonly string[]} packages
 * @param {{ backports?: boolean }} [options] `backports` takes them from the release's backports suite
 */
export async function install(packages, { backports = false } = {}) {
  const prefix = asRoot();
  if (!prefix || !which('apt-get'))
    throw new SetupError(`Install ${packages.join(' and ')} and run the command again.`);
  /** What goes wrong is on stderr; the rest is long and tells nothing. @param {readonly string[]} args */
  const apt = (args) => {
    const [command = '', ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
    return run(command, rest, { stdout: 'ignore' });
  };
  const target = `${readRelease()?.codename}-backports`;
  if (backports) await addSuite(prefix, target);
  if (!updated) {
    say('Updating package lists (apt-get update)');
    await apt(['update', '-qq']);
    updated = true;
  }
  say(`Installing ${packages.join(', ')}${backports ? ` from ${target}` : ''} (apt-get install)`);
  const code = await apt([
    ...['install', '-y', '-qq', '--no-install-recommends'],
    ...(backports ? ['-t', target] : []),
    ...packages,
  ]);
  if (code !== 0) {
    throw new SetupError(
      `apt-get could not install ${packages.join(' and ')} (exit code ${code}); install by hand and run the command again.`,
    );
  }
}

/** @param {readonly string[]} prefix @param {string} target */
async function addSuite(prefix, target) {
  const source = sourceFor(readSources(), target.replace(/-backports$/, ''), target);
  if (source === 'present') return;
  if (!source) {
    throw new SetupError(
      `No apt source of Debian itself was found; add ${target} to /etc/apt and run the command again.`,
    );
  }
  const file = `/etc/apt/sources.list.d/${source.name}`;
  say(`Adding the apt source ${file}`);
  const [command = '', ...rest] = [...prefix, 'sh', '-c', 'printf %s "$1" > "$2"', 'sh', source.text, file];
  if ((await run(command, rest)) !== 0) throw new SetupError(`${file} could not be written.`);
  updated = false;
}
