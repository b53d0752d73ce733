/// <reference path="./contract.d.ts" />
/** Providers: ways to language models. */
import "./globals.ts";
import host, { type Event, type StopReason, type ToolCall, type Usage } from "carapace:plugin/completion";
import type {
  Failure as WitFailure,
  FailureKind,
  Functions,
  Message,
  Model,
  Part,
  Request,
} from "carapace:plugin/provider";
import { guarded, HostError } from "./error.ts";
import { HttpError } from "./http.ts";
import { refusal, synchronous } from "./thrown.ts";

export type { Event, FailureKind, Message, Model, Part, Request, StopReason, ToolCall, Usage };
export type { Role, ToolChoice, ToolResult, ToolSpec } from "carapace:plugin/provider";

/** A case without a value, by its name alone. */
type Named<T extends { tag: string }> = T | Exclude<T, { val: unknown }>["tag"];
/** A model of which the id is known. It is taken to be able to call tools, and not to see images. */
export type Listed = Pick<Model, "id"> & Partial<Model>;

/** What a component with models does. A fresh instance of the module serves each call. */
export interface Provider {
  /** What there is. Asked for at most every 5 minutes, and given up after 10 s. */
  models(): Listed[];
  /** Answers a request: pushes what the model says into `out` and returns when the answer is complete. */
  complete(request: Request, out: Completion): void;
}

const KINDS_WORTH_ANOTHER_TRY = ["rate-limited", "unavailable", "interrupted"];

/** Why a completion, or the list of models, failed. The kernel decides what to do next, by the kind. */
export class Failure extends Error {
  override readonly name = "Failure";
  /** As it goes to the kernel. */
  readonly payload: WitFailure;
  /** Whether the same request may succeed later follows from the kind, if it is not said. */
  constructor(kind: Named<FailureKind>, message: string, more: Partial<Pick<WitFailure, "retryable" | "retryAfterMs">> = {}) {
    super(message);
    const of: FailureKind = typeof kind === "string" ? { tag: kind } : kind;
    this.payload = { retryable: KINDS_WORTH_ANOTHER_TRY.includes(of.tag), retryAfterMs: null, ...more, kind: of, message };
  }
  /** The server sent something that cannot be read. Worth another try: it is usually a proxy's page. */
  static malformed(message: string): Failure {
    return new Failure({ tag: "other", val: "malformed" }, message, { retryable: true });
  }
  /** What an import's error is. */
  static from(error: HostError): Failure {
    if (error instanceof HttpError && error.stage === "answered" && error.kind === "unavailable") return Failure.malformed(error.message);
    return of(error, error instanceof HttpError && error.stage === "reading" ? "interrupted" : "unavailable");
  }
}

function of(error: HostError, broken: "interrupted" | "unavailable" | "cancelled"): Failure {
  switch (error.kind) {
    case "denied":
    case "limit":
      return new Failure({ tag: "other", val: error.kind }, error.message);
    case "not-found":
    case "invalid":
      return new Failure("invalid-request", error.message);
    case "cancelled":
      return new Failure("cancelled", error.message);
    default:
      return new Failure(broken, error.message);
  }
}

/**
 * Where a provider pushes what the model says. Each call waits while the reader is slow; when nobody wants the answer any more, it throws
 * a {@link Failure} of the kind `cancelled`, which ends the completion.
 */
export class Completion {
  /** A piece of the answer. */
  text(piece: string): void {
    this.emit({ tag: "text", val: piece });
  }
  /** A piece of what the model thinks. */
  reasoning(piece: string): void {
    this.emit({ tag: "reasoning", val: piece });
  }
  /** A whole call: fragments are assembled before. `arguments` is JSON text, as the model gave it. */
  toolCall(call: Omit<ToolCall, "extra"> & Partial<ToolCall>): void {
    this.emit({ tag: "tool-call", val: { extra: [], ...call } });
  }
  /** Tokens, as the provider counts them. */
  usage(usage: Pick<Usage, "input" | "output"> & Partial<Usage>): void {
    this.emit({ tag: "usage", val: { cachedInput: 0, reasoning: 0, extra: [], ...usage } });
  }
  /** Why the model stopped. */
  stop(reason: Named<StopReason>): void {
    this.emit({ tag: "stop", val: typeof reason === "string" ? { tag: reason } : reason });
  }
  /** State of the provider's that is handed back with the next request. */
  other(kind: string, data: string): void {
    this.emit({ tag: "other", val: [kind, data] });
  }
  /** Any event. */
  emit(event: Event): void {
    try {
      guarded(() => host.emit(event));
    } catch (thrown) {
      throw thrown instanceof HostError ? of(thrown, "cancelled") : thrown;
    }
  }
}

/** The export `provider`: `export const provider = defineProvider({ … })`. */
export function defineProvider(provider: Provider): Functions {
  const done = <T>(what: string, call: () => T): T => {
    try {
      return synchronous(call(), what);
    } catch (thrown) {
      throw refusal(thrown, Failure, Failure.from);
    }
  };
  return {
    models: () =>
      done("models", () =>
        provider.models().map((m) => ({ name: m.id, context: null, output: null, tools: true, images: false, extra: [], ...m })),
      ),
    complete: (request) => done("complete", () => provider.complete(request, new Completion())),
  };
}

/** The text parts of a message, joined by line feeds. */
export function text(message: Message): string {
  return message.parts.flatMap((p) => (p.tag === "text" ? [p.val] : [])).join("\n");
}
