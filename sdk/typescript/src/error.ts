/// <reference path="./contract.d.ts" />
import type { Error as Wit } from "carapace:plugin/types";

/** Why an import refused or failed; `kind` is the case, `message` is for a person. */
export type Kind = Wit["tag"];

/**
 * What an import throws. Thrown out of a tool it becomes a {@link ToolError} of the fitting kind: what was denied stays denied,
 * what is unavailable stays worth another try.
 */
export class HostError extends Error {
  override readonly name = "HostError";
  constructor(readonly kind: Kind, message: string) {
    super(message);
  }
}

/** Calls an import; its error comes as a {@link HostError}. */
export function guarded<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw hostError(thrown) ?? thrown;
  }
}

/** The contract's `error` in what the engine threw, if that is what it is. */
export function hostError(thrown: unknown): HostError | undefined {
  return of(payload(thrown));
}

/** What the engine hangs on an import's error. */
export function payload(thrown: unknown): unknown {
  return typeof thrown === "object" && thrown !== null && "payload" in thrown ? thrown.payload : undefined;
}

/** The contract's `error` as an exception. */
export function of(error: unknown): HostError | undefined {
  if (typeof error !== "object" || error === null || !("tag" in error) || typeof error.tag !== "string") return undefined;
  const text = "val" in error && typeof error.val === "string" ? error.val : "the run was cancelled";
  return new HostError(error.tag as Kind, text);
}
