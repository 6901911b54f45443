import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canInstall, install, readRelease } from './apt.mjs';
import { capture, SetupError, say } from './process.mjs';

/**
 * @typedef {{ vendor: string, architecture: string, device: string, description: string, features: string[] }} Adapter
 * @typedef {{ adapter: Adapter, env: Record<string, string> }} Driver what Dawn finds when started with `env`
 */

/** What Dawn finds with these variables set. @param {Record<string, string>} env @returns {Driver | undefined} */
function probe(env) {
  const output = capture(process.execPath, [fileURLToPath(new URL('probe.mjs', import.meta.url))], { env });
  return output === undefined ? undefined : { adapter: JSON.parse(output), env };
}

/** @param {Adapter} adapter */
function isSoftware({ vendor, architecture, description }) {
  return /llvmpipe|lavapipe|swiftshader|microsoft basic|warp/i.test(
    `${vendor} ${architecture} ${description}`,
  );
}

/** @param {Adapter} adapter */
export function adapterName({ vendor, architecture, description }) {
  return description || [vendor, architecture].filter(Boolean).join(' ') || 'unnamed adapter';
}

/** Variables that make the Vulkan loader see one driver alone. @param {string} manifest @returns {Record<string, string>} */
function onlyDriver(manifest) {
  return { VK_DRIVER_FILES: manifest, VK_ICD_FILENAMES: manifest };
}

/** The manifests of Mesa's software driver. */
function lavapipeManifests() {
  return ['/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/etc/vulkan/icd.d'].flatMap(
    (folder) =>
      existsSync(folder)
        ? readdirSync(folder)
            .filter((name) => /^lvp_icd.*\.json$/.test(name))
            .map((name) => join(folder, name))
        : [],
  );
}

function probeLavapipe() {
  for (const manifest of lavapipeManifests()) {
    const driver = probe(onlyDriver(manifest));
    if (driver) return driver;
  }
  return undefined;
}

/** SwiftShader as Chromium ships it: slower and without f16, but it needs no installation. */
/** @param {string | undefined} chromium */
function probeSwiftShader(chromium) {
  const folders = [...(chromium ? [dirname(chromium)] : []), '/usr/lib/chromium', '/opt/google/chrome'];
  const manifest = folders
    .map((folder) => join(folder, 'vk_swiftshader_icd.json'))
    .find((path) => existsSync(path));
  return manifest === undefined ? undefined : probe(onlyDriver(manifest));
}

/**
 * Finds an adapter for Dawn: a GPU if there is one, else Mesa's lavapipe (installed when that is possible), else the
 * SwiftShader of a Chromium. Dawn refuses Mesa before version 24, which is what Debian 12 itself has: there it comes
 * from the backports.
 * @param {{ chromium?: string | undefined, mayInstall?: boolean }} [options]
 * @returns {Promise<Driver>}
 */
export async function ensureVulkan({ chromium, mayInstall = true } = {}) {
  const asIs = probe({});
  if (asIs && (!isSoftware(asIs.adapter) || process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES))
    return asIs;
  const installed = probeLavapipe() ?? asIs;
  if (installed) return installed;
  if (mayInstall && process.platform === 'linux' && canInstall()) {
    const release = readRelease();
    say('No GPU that Dawn can use: installing the software driver lavapipe');
    await install(['mesa-vulkan-drivers'], { backports: release?.id === 'debian' && release.version === 12 });
    const lavapipe = probeLavapipe();
    if (lavapipe) return lavapipe;
  }
  const swiftShader = probeSwiftShader(chromium);
  if (swiftShader) return swiftShader;
  throw new SetupError(
    process.platform === 'linux'
      ? 'No Vulkan driver that Dawn accepts: install the driver of your GPU, or Mesa 24 or newer (the Debian package mesa-vulkan-drivers, on Debian 12 from bookworm-backports).'
      : 'No GPU that Dawn can use was found: update the graphics driver.',
  );
}
