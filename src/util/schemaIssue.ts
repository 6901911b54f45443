/** One problem that a zod schema found in a document. */
interface SchemaIssue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
}

export interface FieldProblem {
  /** The field with dots, "the document" for the whole. */
  readonly field: string;
  /** What is wrong with it, e.g. `missing` or `expected number, received string`. */
  readonly what: string;
}

/** What a schema found, field by field: an unknown key is a field of its own, a field that is not there is "missing". */
export function fieldProblems(issues: readonly SchemaIssue[], document: unknown): FieldProblem[] {
  return issues.flatMap((issue) => {
    const { code, path, message, keys = [] } = issue;
    if (code === 'unrecognized_keys')
      return keys.map((key) => ({ field: fieldName([...path, key]), what: 'there is no such field' }));
    const plain = message.replace(/^Invalid input: /u, '');
    const what = isThere(document, path) ? plain.charAt(0).toLowerCase() + plain.slice(1) : 'missing';
    return [{ field: fieldName(path), what }];
  });
}

function fieldName(path: readonly PropertyKey[]): string {
  return path.map(String).join('.') || 'the document';
}

function isThere(document: unknown, path: readonly PropertyKey[]): boolean {
  let value = document;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return false;
    value = (value as Readonly<Record<PropertyKey, unknown>>)[key];
  }
  return value !== undefined;
}
