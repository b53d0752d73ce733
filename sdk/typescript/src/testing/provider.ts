/// <reference path="../contract.d.ts" />
import type { Event } from "carapace:plugin/completion";
import type { Failure, Message, Model, Request } from "carapace:plugin/provider";
import { fromHost, kebab, toHost } from "./wire.ts";

/** Why a provider failed. */
export class ProviderFailure extends Error {
  override readonly name = "ProviderFailure";
  /** The kind's case, or the name of another one. */
  readonly kind: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | null;
  constructor(failure: Omit<Failure, "kind">, kind: string) {
    super(failure.message);
    this.kind = kind;
    ({ retryable: this.retryable, retryAfterMs: this.retryAfterMs } = failure);
  }
}

/** What the user says. */
export function user(text: string): Message {
  return { role: "user", parts: [{ tag: "text", val: text }] };
}
/** What the system prompt says. */
export function system(text: string): Message {
  return { role: "system", parts: [{ tag: "text", val: text }] };
}

const NOTHING: Omit<Request, "model" | "messages"> = {
  tools: [],
  toolChoice: { tag: "auto" },
  maxOutput: null,
  temperature: null,
  topP: null,
  seed: null,
  stop: [],
  jsonSchema: null,
  extra: [],
};

/** Calls of a provider; its failures are thrown as {@link ProviderFailure}. */
export class ProviderCalls {
  readonly #ask: (call: unknown) => Promise<Record<string, unknown>>;
  readonly #emitted: () => unknown[];
  /** @internal */
  constructor(ask: (call: unknown) => Promise<Record<string, unknown>>, emitted: () => unknown[]) {
    this.#ask = ask;
    this.#emitted = emitted;
  }
  /** The models that it lists. */
  async models(): Promise<Model[]> {
    return result((await this.#ask("Models")).Models) as Model[];
  }
  /** A completion: what was pushed. If it fails, {@link emitted} has what had been pushed until then. */
  async complete(request: Pick<Request, "model" | "messages"> & Partial<Request>): Promise<Event[]> {
    this.#emitted().length = 0;
    result((await this.#ask({ Complete: toHost({ ...NOTHING, ...request }) })).Complete);
    return this.emitted;
  }
  /** What the last completion pushed, in order. */
  get emitted(): Event[] {
    return fromHost(this.#emitted()) as Event[];
  }
  /** The text that the last completion pushed. */
  get answered(): string {
    return this.emitted.flatMap((e) => (e.tag === "text" ? [e.val] : [])).join("");
  }
}

function result(outcome: unknown): unknown {
  const { Ok, Err } = outcome as { Ok?: unknown; Err?: { kind: string | Record<string, string> } };
  if (Err === undefined) return fromHost(Ok);
  const { kind, ...more } = Err;
  const named = typeof kind === "string" ? kebab(kind) : (Object.values(kind)[0] ?? "other");
  throw new ProviderFailure(fromHost(more) as Omit<Failure, "kind">, named);
}
