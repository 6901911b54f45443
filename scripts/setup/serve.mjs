import { createReadStream, promises } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';

/** @type {Readonly<Record<string, string>>} */
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.jsonl': 'text/plain; charset=utf-8',
  '.md': 'text/plain; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
  '.yaml': 'text/plain; charset=utf-8',
};

/** Gives the page shared memory, for threads, and exact timers. */
export const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

const HEADERS = {
  ...ISOLATION,
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-cache',
  'Accept-Ranges': 'bytes',
};

/**
 * Reads a `Range` header. Only one range is served; more than one is answered with the whole file, as HTTP allows.
 * @param {string | undefined} header
 * @param {number} size bytes of the file
 * @returns {{ start: number, end: number } | 'whole' | 'unsatisfiable'} `end` is the last byte, inclusive
 */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return 'whole';
  const suffix = match[1] === '';
  const start = suffix ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = suffix || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (!suffix && match[2] !== '' && Number(match[2]) < start) return 'whole';
  return start > end ? 'unsatisfiable' : { start, end };
}

/**
 * The file of a request inside `folder`, or undefined when the address points outside it.
 * @param {string} folder
 * @param {string} url
 */
export function resolveFile(folder, url) {
  const base = normalize(folder + sep);
  try {
    const path = decodeURIComponent(new URL(url, 'http://localhost').pathname);
    const file = normalize(join(base, path.endsWith('/') ? `${path}index.html` : path));
    return file.startsWith(base) && !file.includes('\0') ? file : undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param {string} folder
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
async function answer(folder, request, response) {
  /** @param {number} status @param {Record<string, string | number>} [headers] */
  const finish = (status, headers = {}) => void response.writeHead(status, { ...HEADERS, ...headers }).end();
  const { method, headers: asked } = request;
  if (method !== 'GET' && method !== 'HEAD') return finish(405, { Allow: 'GET, HEAD' });
  const file = resolveFile(folder, request.url ?? '/');
  const stats = file === undefined ? undefined : await promises.stat(file).catch(() => undefined);
  if (file === undefined || !stats?.isFile()) return finish(404);
  const tag = `"${stats.size.toString(16)}-${Math.trunc(stats.mtimeMs).toString(16)}"`;
  if (asked['if-none-match'] === tag) return finish(304, { ETag: tag });
  const range = parseRange(asked.range, stats.size);
  if (range === 'unsatisfiable') return finish(416, { 'Content-Range': `bytes */${stats.size}` });
  const { start, end } = range === 'whole' ? { start: 0, end: stats.size - 1 } : range;
  const status = range === 'whole' ? 200 : 206;
  const headers = {
    'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
    'Content-Length': end - start + 1,
    ETag: tag,
    ...(status === 206 ? { 'Content-Range': `bytes ${start}-${end}/${stats.size}` } : {}),
  };
  if (method === 'HEAD' || stats.size === 0) return finish(status, headers);
  response.writeHead(status, { ...HEADERS, ...headers });
  const stream = createReadStream(file, { start, end });
  stream.on('error', () => response.destroy());
  response.on('close', () => stream.destroy());
  stream.pipe(response);
}

/**
 * Serves a folder on this machine alone.
 * @param {string} folder
 * @param {{ port?: number, attempts?: number }} [options] the first port to try, and how many to try after it; port 0
 *   takes any free one
 * @returns {Promise<{ server: import('node:http').Server, url: string }>}
 */
export async function serve(folder, { port = 0, attempts = 1 } = {}) {
  const server = createServer((request, response) => {
    answer(folder, request, response).catch(() => response.destroy());
  });
  for (let offset = 0; ; offset++) {
    try {
      await new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(port === 0 ? 0 : port + offset, '127.0.0.1', () => resolve(undefined));
      });
      break;
    } catch (error) {
      if (offset + 1 >= attempts) throw error;
    }
  }
  const address = server.address();
  const used = typeof address === 'object' && address ? address.port : port;
  // By number: `localhost` may lead to another program's IPv6 port.
  return { server, url: `http://127.0.0.1:${used}/` };
}
