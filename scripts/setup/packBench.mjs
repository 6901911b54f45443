import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { capture, root, run, SetupError, say, which } from './process.mjs';

/** Some places take files of at most 60 MB. */
const PART_BYTES = 55_000_000;

/**
 * What the Vulkan loader and a vendor's driver load: the loader itself, the dispatch libraries of OpenGL that NVIDIA's
 * driver links to, and the X libraries it wants though it opens no window.
 */
const LOADER_LIBRARIES = [
  'libvulkan.so.1',
  'libGLdispatch.so.0',
  'libGLX.so.0',
  'libGL.so.1',
  'libEGL.so.1',
  'libOpenGL.so.0',
  'libGLESv2.so.2',
  'libX11.so.6',
  'libXext.so.6',
  'libxcb.so.1',
  'libXau.so.6',
  'libXdmcp.so.6',
  'libbsd.so.0',
  'libmd.so.0',
];

/** Debian packages of the same, where the system lacks them. */
const LOADER_PACKAGES = ['libvulkan1', 'libglvnd0', 'libgl1', 'libglx0', 'libegl1', 'libopengl0', 'libgles2'];

/** Parts of the C library: those must be the machine's own. */
const C_LIBRARY = /^(ld-linux.*|libc|libm|libdl|libpthread|librt)\.so/;

const RUN = `#!/bin/sh
# Measures on this machine: unpacks once, then runs the bench. Results are printed and written to bench.json here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$PWD
if [ ! -x "$here/alloy-bench/node" ]; then
  cat "$here"/alloy-bench.tar.gz.* | tar -xzf - -C "$here"
fi
cd "$here/alloy-bench"
# The machine's own libraries come first; only those it lacks are taken from here.
PATH="$PATH:/sbin:/usr/sbin"
own=$(ldconfig -p 2>/dev/null || true)
rm -rf lib-used
mkdir lib-used
for library in lib/*; do
  name=$(basename "$library")
  case "$own" in
    *"$name "*x86-64*) ;;
    *) cp "$library" lib-used/ ;;
  esac
done
export LD_LIBRARY_PATH="$PWD/lib-used\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if [ -z "\${VK_DRIVER_FILES:-}" ]; then
  for manifest in /usr/share/vulkan/icd.d/nvidia_icd*.json /etc/vulkan/icd.d/nvidia_icd*.json; do
    if [ -f "$manifest" ]; then export VK_DRIVER_FILES="$manifest"; fi
  done
fi
# A container may have NVIDIA's library without the file that names it to the loader.
if [ -z "\${VK_DRIVER_FILES:-}" ] && ! ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json >/dev/null 2>&1; then
  for library in libGLX_nvidia.so.0 libEGL_nvidia.so.0; do
    path=$(echo "$own" | sed -n "s|.*$library.*=> ||p" | head -n 1)
    if [ -n "$path" ]; then
      echo "{\\"file_format_version\\": \\"1.0.0\\", \\"ICD\\": {\\"library_path\\": \\"$path\\", \\"api_version\\": \\"1.3.0\\"}}" > nvidia_icd.json
      export VK_DRIVER_FILES="$PWD/nvidia_icd.json"
      break
    fi
  done
fi
exec ./node bench/main.mjs --out "$out/bench.json" "$@"
`;

/** @param {string} name @returns {string | undefined} the library's file on this system */
function systemLibrary(name) {
  const listed = capture('sh', [
    '-c',
    `PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | sed -n 's|.*${name} .*x86-64.*=> ||p' | head -n 1`,
  ])?.trim();
  return listed && existsSync(listed) ? listed : undefined;
}

/** Libraries that a program is linked to, without those of the C library. @param {string} file @returns {string[]} */
function linkedLibraries(file) {
  const output = capture('ldd', [file]) ?? '';
  return [...output.matchAll(/=> (\/\S+)/g)]
    .map(([, path = '']) => path)
    .filter((path) => !C_LIBRARY.test(basename(path)));
}

/** @param {string} library the folder that gets the libraries */
async function copyLibraries(library, /** @type {readonly string[]} */ programs) {
  const missing = [];
  for (const name of LOADER_LIBRARIES) {
    const path = systemLibrary(name);
    if (path) copyFileSync(realpathSync(path), join(library, name));
    else missing.push(name);
  }
  for (const path of programs.flatMap(linkedLibraries))
    copyFileSync(realpathSync(path), join(library, basename(path)));
  if (missing.length === 0) return;
  say(`Not on this system: ${missing.join(', ')}; fetching Debian's packages of the loader`);
  const folder = mkdtempSync(join(tmpdir(), 'alloy-pack-'));
  for (const name of LOADER_PACKAGES) {
    await run(
      'sh',
      ['-c', `cd "$1" && apt-get download -qq "$2" && dpkg -x "$2"_*.deb .`, 'sh', folder, name],
      { stdout: 'stderr' },
    );
  }
  const found = join(folder, 'usr', 'lib', 'x86_64-linux-gnu');
  for (const name of missing) {
    const path = join(found, name);
    if (existsSync(path)) copyFileSync(realpathSync(path), join(library, name));
    else say(`Left out: ${name}; the target machine must have it if its driver needs it`);
  }
  rmSync(folder, { recursive: true });
}

/**
 * Packs the bundled bench with Node, Dawn and the Vulkan loader into `target`: archives of at most 60 MB and `run.sh`, which
 * unpacks and runs them.
 * @param {string} bundled folder of main.mjs
 * @param {string} target
 */
export async function packBench(bundled, target) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new SetupError(
      "The pack holds this machine's Node and Dawn, and is for Linux on x86-64; pack on such a machine.",
    );
  }
  mkdirSync(target, { recursive: true });
  const stage = mkdtempSync(join(tmpdir(), 'alloy-pack-'));
  try {
    const folder = join(stage, 'alloy-bench');
    const dawn = join(folder, 'node_modules', 'webgpu');
    mkdirSync(join(folder, 'lib'), { recursive: true });
    cpSync(bundled, join(folder, 'bench'), { recursive: true });
    for (const name of ['package.json', 'index.js', 'LICENSE.md', 'dist/linux-x64']) {
      cpSync(join(root, 'node_modules', 'webgpu', name), join(dawn, name), { recursive: true });
    }
    const node = join(folder, 'node');
    copyFileSync(realpathSync(process.execPath), node);
    chmodSync(node, 0o755);
    if (which('strip'))
      for (const file of [node, join(dawn, 'dist/linux-x64/dawn.node')])
        capture('strip', ['--strip-unneeded', file]);
    await copyLibraries(join(folder, 'lib'), [node, join(dawn, 'dist/linux-x64/dawn.node')]);
    for (const name of readdirSync(target))
      if (/^alloy-bench\.tar\.gz\.\d+$/.test(name)) rmSync(join(target, name));
    say('Packing');
    const script =
      'tar -cf - -C "$1" alloy-bench | gzip -9 | split -b "$2" -d -a 2 - "$3/alloy-bench.tar.gz."';
    const code = await run('sh', ['-c', script, 'sh', stage, String(PART_BYTES), target]);
    if (code !== 0) throw new SetupError(`The archives could not be written to ${target}.`);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  writeFileSync(join(target, 'run.sh'), RUN, { mode: 0o755 });
  for (const name of readdirSync(target).sort()) {
    say(`${join(target, name)}: ${(statSync(join(target, name)).size / 1e6).toFixed(1)} MB`);
  }
  say(`Copy ${target} to the machine and run: sh run.sh`);
}
