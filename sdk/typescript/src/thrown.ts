import { HostError, hostError } from "./error.ts";
import * as log from "./log.ts";

/**
 * What is thrown to the kernel: an export's own error as it is, an import's as `from` makes it one. Any other exception is no answer and
 * ends the call as a trap; where it happened stands in the log alone.
 */
export function refusal(
  thrown: unknown,
  own: abstract new (...args: never[]) => Error,
  from: (error: HostError) => Error,
): unknown {
  if (thrown instanceof own) return thrown;
  const error = thrown instanceof HostError ? thrown : hostError(thrown);
  if (error !== undefined) return from(error);
  log.error(thrown instanceof Error ? `${thrown.name}: ${thrown.message}\n${thrown.stack ?? ""}` : String(thrown));
  return thrown;
}

/** An export is a plain function: imports wait by themselves. */
export function synchronous<T>(result: T, what: string): T {
  if (result instanceof Promise) throw new TypeError(`${what} returned a promise; it is synchronous, and imports wait by themselves`);
  return result;
}
