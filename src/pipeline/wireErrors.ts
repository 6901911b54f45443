import { transferHandlers } from 'comlink';

interface ThrownValue {
  readonly value: unknown;
}

/** Lets the code of an `AlloyError` cross to the page beside its name and message. Call once, in the worker. */
export function carryErrorCodes(): void {
  const plain = transferHandlers.get('throw');
  if (!plain) return;
  transferHandlers.set('throw', {
    canHandle: plain.canHandle,
    deserialize: plain.deserialize,
    serialize(thrown: ThrownValue) {
      const { value } = thrown;
      if (!(value instanceof Error && 'code' in value)) return plain.serialize(thrown);
      const { name, code, message, stack } = value;
      return [{ isError: true, value: { name, code, message, stack } }, []];
    },
  });
}
