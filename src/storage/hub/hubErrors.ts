import { AlloyError } from '../../util/errors.ts';
import type { Subject } from './client.ts';

/** The error of a connection that did not come about or broke. */
export function unreachable(endpoint: string, { id, file }: Subject, cause: unknown): AlloyError {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code = inner instanceof Error && 'code' in inner ? String(inner.code) : '';
  const why = code || (inner instanceof Error ? inner.message : String(inner));
  return new AlloyError(
    'no-network',
    file === undefined
      ? `${endpoint} cannot be reached for ${id} (${why}); check the connection and try again.`
      : `${endpoint} cannot be reached for ${file} of ${id} (${why}); check the connection and try again: what has come is kept.`,
    { cause },
  );
}

/** What a refusal says of tokens. */
export interface TokenUse {
  /** Whether the request carried one. */
  readonly given: boolean;
  /** Where a person gives one. */
  readonly place: string | undefined;
}

/**
 * Puts what the hub answers into a sentence. `X-Error-Code` tells its reasons apart where a browser may read it.
 */
export async function refusal(
  response: Response,
  endpoint: string,
  subject: Subject,
  token: TokenUse,
): Promise<AlloyError> {
  const code = response.headers.get('X-Error-Code') ?? '';
  const said = response.headers.get('X-Error-Message') ?? (await bodyMessage(response));
  const { status } = response;
  if (status === 401 || status === 403) return noAccess(status, code, said, endpoint, subject, token);
  if (status === 404 || status === 410) return missing(code, endpoint, subject);
  const what = subject.file === undefined ? subject.id : `${subject.file} of ${subject.id}`;
  if (status === 429) {
    return new AlloyError(
      'no-network',
      `${endpoint} answers too many requests (429) for ${what}; wait some minutes and try again, or give a token: what has come is kept.`,
    );
  }
  const detail = said === '' ? '' : `: ${said}`;
  return new AlloyError(
    'no-network',
    `${endpoint} does not give ${what} (it answers ${status}${detail}); try again later: what has come is kept.`,
  );
}

function noAccess(
  status: number,
  code: string,
  said: string,
  endpoint: string,
  { id, file }: Subject,
  token: TokenUse,
): AlloyError {
  const page = `${endpoint}/${id}`;
  const error = (text: string) => new AlloyError('no-access', text);
  if (/invalid (?:credentials|username|token)/iu.test(said) && token.given)
    return error(
      `${endpoint} does not know the token given (${status}); make a new one at ${endpoint}/settings/tokens.`,
    );
  const gated =
    code === 'GatedRepo' || /gated|restricted|terms|must (?:be authenticated|have access)/iu.test(said);
  // Where nobody is logged in the hub hides whether a model is private or not there at all.
  if (!gated && (code === 'RepoNotFound' || (file === undefined && code === '' && status === 401)))
    return error(
      `There is no model ${id} at ${endpoint}, or it is private or gated (${status}): check the id; for a gated one accept its terms at ${page}, and ${tokenAdvice(endpoint, token)}.`,
    );
  if (gated || code === '') {
    return error(
      token.given
        ? `${id} is gated, and the token given has no access to it (${status}): accept its terms at ${page} with the account of the token, then try again.`
        : `${id} is gated (${status}): accept its terms at ${page}, then ${tokenAdvice(endpoint, token)}.`,
    );
  }
  const detail = said === '' ? '' : `: ${said}`;
  return error(
    `${endpoint} refuses ${id} (${status}, ${code}${detail}); check the token and the access of its account at ${page}.`,
  );
}

function tokenAdvice(endpoint: string, { given, place }: TokenUse): string {
  if (given) return 'use a token whose account has access';
  return `give a token of yours${place === undefined ? '' : ` ${place}`} (${endpoint}/settings/tokens makes one)`;
}

function noModel(endpoint: string, id: string): AlloyError {
  return new AlloyError(
    'missing-file',
    `There is no model ${id} at ${endpoint}; check the id (or give a token, if it is private).`,
  );
}

function missing(code: string, endpoint: string, { id, revision, file }: Subject): AlloyError {
  if (code === 'RevisionNotFound' || (file === undefined && code === '' && revision !== 'main'))
    return new AlloyError(
      'missing-file',
      `${id} has no revision "${revision}" at ${endpoint}; give a branch, tag or commit that it has.`,
    );
  if (file === undefined || code === 'RepoNotFound') return noModel(endpoint, id);
  return new AlloyError(
    'missing-file',
    `${id} has no file ${file} at the revision ${revision} (${endpoint}); choose one that it has.`,
  );
}

/** The `error` of a JSON answer. What CDNs and proxies send instead is their affair. */
async function bodyMessage(response: Response): Promise<string> {
  const type = response.headers.get('Content-Type') ?? '';
  if (!type.includes('json')) {
    await response.body?.cancel().catch(() => undefined);
    return '';
  }
  try {
    const { error } = (await response.json()) as { error?: unknown };
    return typeof error === 'string' ? error.slice(0, 200) : '';
  } catch {
    return '';
  }
}
