import type { Content, Context, Tool as WitTool, ToolError as WitToolError } from "carapace:plugin/tools";
import type { HostError } from "./error.ts";
import type { Infer, Schema } from "./schema.ts";
import { refusal, synchronous } from "./thrown.ts";

export type { Content, Context };

/** Why a call failed. The text is for the model. */
export class ToolError extends Error {
  override readonly name = "ToolError";
  /** As it goes to the kernel. */
  readonly payload: WitToolError;
  constructor(readonly kind: WitToolError["tag"], message: string) {
    super(message);
    this.payload = { tag: kind, val: message };
  }
  /** The arguments make no sense; the text tells the model what to change. */
  static invalid(message: string): ToolError {
    return new ToolError("invalid-arguments", message);
  }
  /** What was asked for does not exist. */
  static notFound(message: string): ToolError {
    return new ToolError("not-found", message);
  }
  /** Try again later. */
  static unavailable(message: string): ToolError {
    return new ToolError("unavailable", message);
  }
  /** It failed, and trying again will not help. */
  static failed(message: string): ToolError {
    return new ToolError("failed", message);
  }
  /** What an import's error is to the model. */
  static from(error: HostError): ToolError {
    switch (error.kind) {
      case "denied":
      case "not-found":
      case "unavailable":
        return new ToolError(error.kind, error.message);
      case "timeout":
        return ToolError.unavailable(error.message);
      // An import's argument is this component's, not the model's.
      default:
        return ToolError.failed(error.message);
    }
  }
}

/** What a tool may return: text, contents, or any other value, which the model is given as JSON. */
export type Result = string | Content | readonly Content[] | Structured;

/** See {@link structured}. */
export class Structured {
  constructor(readonly value: unknown) {}
}

/** A value that is given to the model as JSON. */
export function structured(value: unknown): Structured {
  return new Structured(value);
}

/** An image, at most 8 MiB. */
export function image(mime: string, data: Uint8Array): Content {
  return { tag: "image", val: { mime, data } };
}

/** A file. */
export function file(name: string, mime: string, data: Uint8Array): Content {
  return { tag: "file", val: { name, mime, data } };
}

/** A function that a model can call. */
export interface Tool {
  readonly described: WitTool;
  readonly run: (args: unknown, context: Context) => Result;
}

/**
 * Describes a tool. `name` must stand in `carapace.toml`; `parameters` is the JSON Schema of its arguments, an object. Arguments that do
 * not fit never reach `call`. It is synchronous: imports wait in the kernel.
 */
export function tool<const S extends Schema & { readonly type: "object" }>(definition: {
  readonly name: string;
  /** For the model. */
  readonly description: string;
  readonly parameters: S;
  readonly call: (args: Infer<S>, context: Context) => Result;
}): Tool {
  const { name, description, parameters, call } = definition;
  return {
    described: { name, description, parameters: JSON.stringify(parameters), extra: [] },
    run: (args, context) => call(args as Infer<S>, context),
  };
}

/** What a module exports as `tools`. */
export interface Toolset {
  list(): WitTool[];
  call(name: string, args: string, context: Context): Content[];
}

/** The export `tools`. Each call is served by a fresh instance: a variable remembers nothing from the call before. */
export function toolset(...tools: readonly Tool[]): Toolset {
  return {
    list: () => tools.map((t) => t.described),
    call(name, args, context) {
      const found = tools.find((t) => t.described.name === name);
      if (found === undefined) throw ToolError.notFound(`there is no tool \`${name}\``);
      try {
        return contents(synchronous(found.run(JSON.parse(args), context), "a tool"));
      } catch (thrown) {
        throw refusal(thrown, ToolError, ToolError.from);
      }
    },
  };
}

function contents(result: Result): Content[] {
  if (typeof result === "string") return [{ tag: "text", val: result }];
  if (result instanceof Structured) return [{ tag: "structured", val: JSON.stringify(result.value) }];
  if (Array.isArray(result)) return [...(result as readonly Content[])];
  if (typeof result === "object" && result !== null && "tag" in result) return [result as Content];
  throw new TypeError("a tool returned neither text nor content; give other values as structured(value)");
}
