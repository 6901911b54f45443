import { AlloyError } from '../../util/errors.ts';

/** What a person wrote to name a model of the hub. */
export interface HubReference {
  /** `owner/name`, or the bare name of an old model without an owner. */
  readonly id: string;
  /** A branch, tag or commit; absent where nobody said. */
  readonly revision?: string;
  /** One file of the repository, such as `model-Q4_K_M.gguf`. */
  readonly file?: string;
  /** The quantisation of the wanted GGUF file, such as `Q4_K_M`, or `safetensors`. */
  readonly variant?: string;
}

export const HUB_PREFIX = 'hub:';
export const DEFAULT_ENDPOINT = 'https://huggingface.co';
/** Hosts whose addresses people paste, whatever endpoint the files then come from. */
const KNOWN_HOSTS = ['huggingface.co', 'www.huggingface.co', 'hf.co', 'www.hf.co', 'hf-mirror.com'];
/** First parts of addresses of the hub that are no owner. */
const NO_OWNERS = [
  'datasets',
  'spaces',
  'api',
  'docs',
  'blog',
  'collections',
  'papers',
  'models',
  'settings',
];
const NAME = /^(?!.*(?:--|\.\.))[A-Za-z\d](?:[\w.-]{0,94}[A-Za-z\d_])?$/u;
const COMMIT = /^[\da-f]{40}$/u;

/** Whether a text is meant to name a model of the hub: `hub:…`, or an address, which may be one of a mirror. */
export function isHubText(text: string): boolean {
  return text.startsWith(HUB_PREFIX) || /^https?:\/\//iu.test(text) || addressOf(text, []) !== undefined;
}

export function isCommit(revision: string | undefined): revision is string {
  return revision !== undefined && COMMIT.test(revision);
}

/**
 * Reads `hub:OWNER/NAME[:VARIANT][/FILE][@REVISION]`, `hub:OWNER/NAME@REVISION[/FILE]`, or a pasted address of a model, a
 * folder or a file on the hub.
 * @param endpoints addresses whose hosts count as the hub beside its own
 * @throws AlloyError `bad-argument`
 */
export function parseHubReference(text: string, endpoints: readonly string[] = []): HubReference {
  const trimmed = text.trim();
  const address = addressOf(trimmed, endpoints);
  if (address) return checked(fromAddress(address, trimmed), trimmed);
  if (/^https?:/iu.test(trimmed)) {
    throw bad(trimmed, "it is no address of the hub; paste that of the model's page, or give OWNER/NAME");
  }
  const plain = trimmed.startsWith(HUB_PREFIX) ? trimmed.slice(HUB_PREFIX.length) : trimmed;
  return checked(fromShort(plain), trimmed);
}

/** The shortest text that names the same thing. */
export function hubText({ id, revision, file, variant }: HubReference): string {
  const what = file === undefined ? (variant === undefined ? '' : `:${variant}`) : `/${file}`;
  return `${HUB_PREFIX}${id}${what}${revision === undefined ? '' : `@${revision}`}`;
}

function addressOf(text: string, endpoints: readonly string[]): URL | undefined {
  const bare = /^(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)\//iu.test(text);
  if (!bare && !/^https?:\/\//iu.test(text)) return undefined;
  let url: URL;
  try {
    url = new URL(bare ? `https://${text}` : text);
  } catch {
    return undefined;
  }
  const known = KNOWN_HOSTS.includes(url.hostname.toLowerCase());
  const path = endpoints.map((one) => `${one.replace(/\/+$/u, '')}/`).find((one) => url.href.startsWith(one));
  if (path && !known) return new URL(url.href.slice(path.length), `${DEFAULT_ENDPOINT}/`);
  return known ? url : undefined;
}

function fromAddress(url: URL, text: string): HubReference {
  const parts = url.pathname.split('/').filter((part) => part !== '');
  const names = parts.map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      throw bad(text, 'its address is damaged; copy it again');
    }
  });
  const [first = '', second] = names;
  if (NO_OWNERS.includes(first)) throw bad(text, `it names no model but ${first}; paste a model's address`);
  const hasOwner = second !== undefined && !['tree', 'blob', 'resolve', 'raw'].includes(second);
  const id = hasOwner ? `${first}/${second}` : first;
  const [kind, revision, ...rest] = names.slice(hasOwner ? 2 : 1);
  const shown = url.searchParams.get('show_file_info');
  if (kind === undefined) return { id, ...(shown && { file: shown }) };
  if (!['tree', 'blob', 'resolve', 'raw'].includes(kind)) return { id };
  if (revision === undefined) return { id };
  if (kind === 'tree' && rest.length > 0)
    throw bad(text, `it names a folder (${rest.join('/')}); paste the address of a .gguf file in it`);
  const file = rest.length > 0 ? rest.join('/') : (shown ?? undefined);
  return { id, revision, ...(file !== undefined && { file }) };
}

function fromShort(plain: string): HubReference {
  const at = plain.indexOf('@');
  const [before, after] = at < 0 ? [plain, undefined] : [plain.slice(0, at), plain.slice(at + 1)];
  const { id, file, variant } = splitPlace(before);
  const [revision, later] = after === undefined ? [] : splitRevision(after);
  const wanted = file ?? later;
  return {
    id,
    ...(revision !== undefined && { revision }),
    ...(wanted !== undefined && { file: wanted }),
    ...(variant !== undefined && { variant }),
  };
}

/** `OWNER/NAME:VARIANT`, `OWNER/NAME/FILE` */
function splitPlace(text: string): { id: string; file?: string; variant?: string } {
  const colon = text.indexOf(':');
  if (colon >= 0) return { id: text.slice(0, colon), variant: text.slice(colon + 1) };
  const [owner = '', name, ...rest] = text.split('/');
  const id = name === undefined ? owner : `${owner}/${name}`;
  return rest.length > 0 ? { id, file: rest.join('/') } : { id };
}

/** `REVISION/FILE.gguf`: a revision may have slashes itself (`refs/pr/1`), and then the file comes after it. */
function splitRevision(text: string): [revision: string, file?: string] {
  if (!/\.(?:gguf|onnx)$/iu.test(text)) return [text];
  const parts = text.split('/');
  const length = parts[0] === 'refs' ? 3 : 1;
  if (parts.length <= length) return [text];
  return [parts.slice(0, length).join('/'), parts.slice(length).join('/')];
}

function checked(reference: HubReference, text: string): HubReference {
  const { id, revision, file, variant } = reference;
  const names = id.split('/');
  if (names.length > 2 || !names.every((name) => NAME.test(name)))
    throw bad(
      text,
      `${id === text ? 'that' : `"${id}"`} is no model's id; give OWNER/NAME as the hub's page shows it`,
    );
  if (revision !== undefined && !/^(?!\/)(?!.*(?:\.\.|\/\/))[\w./+-]+(?<![/.])$/u.test(revision))
    throw bad(text, `"${revision}" is no revision; give a branch, a tag or a commit after the @`);
  if (variant !== undefined && !/^[\w.-]+$/u.test(variant))
    throw bad(text, 'the part after the colon names no variant; give one such as Q4_K_M');
  if (file === undefined) return reference;
  if (file.split('/').some((part) => part === '' || part === '.' || part === '..' || /[\\\0]/u.test(part)))
    throw bad(text, `"${file}" is no file of a repository`);
  if (/\.(?:gguf|onnx)$/iu.test(file)) return reference;
  // Any file of a folder of weights stands for the folder.
  const { file: _, ...folder } = reference;
  if (/(?:\.safetensors(?:\.index\.json)?|\.json)$/iu.test(file)) return folder;
  throw bad(text, `"${file}" is neither a GGUF nor an ONNX file; name one of these, or the repository alone`);
}

function bad(text: string, why: string): AlloyError {
  return new AlloyError('bad-argument', `"${text}" cannot be looked up on the hub: ${why}.`);
}
