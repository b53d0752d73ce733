// Made from wit/ by `cargo xtask types`.
//
// What a function declares as its result, it returns; what it declares as its error, it throws.

/** Fields into the component's tracing span. Rate-limited; a message is cut at 4 KiB. Never fails: what is too much is counted and dropped. */
declare module "carapace:plugin/log" {
  export type Level = "trace" | "debug" | "info" | "warn" | "error";
  export interface Functions {
    write(level: Level, message: string, fields: Array<[string, string]>): void;
  }
  const functions: Functions;
  export default functions;
}

/** The instance's own section of the owner's configuration. */
declare module "carapace:plugin/config" {
  export interface Functions {
    /** The section as JSON; `{}` when there is none. Holds no secret. */
    get(): string;
  }
  const functions: Functions;
  export default functions;
}

/** Types that several interfaces use. Type-only: it never needs a grant. */
declare module "carapace:plugin/types" {
  /** Why an import refused or failed. The text is for a person; match on the case. */
  export type Error =
    /** The grant does not cover this. The text names the rule, the value and the command that would allow it. */
    | { tag: "denied"; val: string }
    /** A limit of the manifest or of the operator was reached. */
    | { tag: "limit"; val: string }
    /** The thing named does not exist. */
    | { tag: "not-found"; val: string }
    /** An argument was malformed. */
    | { tag: "invalid"; val: string }
    /** The other side could not be reached or answered nonsense; trying again may help. */
    | { tag: "unavailable"; val: string }
    /** A deadline passed. */
    | { tag: "timeout"; val: string }
    /** The owner or the kernel stopped this run; return as soon as possible. */
    | { tag: "cancelled" }
    /** Anything a later version of the kernel adds. */
    | { tag: "other"; val: string };
  /** Name-value pairs: HTTP headers, extensions. */
  export type Pairs = Array<[string, string]>;
  /** An image by value. At most 8 MiB. */
  export interface Image {
    mime: string;
    data: Uint8Array;
  }
}

/** Tools. A fresh instance serves each call. */
declare module "carapace:plugin/tools" {
  export type { Image } from "carapace:plugin/types";
  import type { Image } from "carapace:plugin/types";
  export type { Pairs } from "carapace:plugin/types";
  import type { Pairs } from "carapace:plugin/types";
  export interface Tool {
    /** `[a-z0-9_]{1,64}`; must stand in the manifest. */
    name: string;
    /** For the model. */
    description: string;
    /** JSON Schema (2020-12) of the arguments, an object. */
    parameters: string;
    extra: Pairs;
  }
  export interface Context {
    /** Unique per call; the same when the kernel repeats a call. */
    callId: string;
    /** Opaque, stable per conversation. */
    session: string;
    /** The owner's time zone (IANA), when known. */
    timezone: string | null;
    extra: Pairs;
  }
  export interface File {
    name: string;
    mime: string;
    data: Uint8Array;
  }
  export type Content =
    | { tag: "text"; val: string }
    | { tag: "image"; val: Image }
    | { tag: "file"; val: File }
    | { tag: "structured"; val: string }
    | { tag: "other"; val: string };
  export type ToolError =
    /** The arguments make no sense; the text tells the model what to change. */
    | { tag: "invalid-arguments"; val: string }
    /** What was asked for does not exist. */
    | { tag: "not-found"; val: string }
    /** Not allowed; the text is an import's `denied` text. */
    | { tag: "denied"; val: string }
    /** Try again later. */
    | { tag: "unavailable"; val: string }
    | { tag: "failed"; val: string }
    | { tag: "other"; val: string };
  export interface Functions {
    list(): Array<Tool>;
    call(name: string, args: string, context: Context): Array<Content>;
  }
  const functions: Functions;
  export default functions;
}

/** Milliseconds only: finer clocks help side channels. */
declare module "carapace:plugin/clock" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Functions {
    /** Milliseconds since the Unix epoch. */
    nowMs(): number;
    /** Milliseconds since an arbitrary point; never goes back. */
    monotonicMs(): number;
    /** Waits. Counts against the call's wall time, not its CPU. */
    sleepMs(duration: number): void;
  }
  const functions: Functions;
  export default functions;
}

/** Random bytes of the operating system. */
declare module "carapace:plugin/random" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Functions {
    /** At most 64 KiB a call. */
    bytes(length: number): Uint8Array;
  }
  const functions: Functions;
  export default functions;
}

/** Durable key-value pairs in the instance's own namespace. */
declare module "carapace:plugin/kv" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  /** A value and its version (for `swap`). */
  export interface Entry {
    value: Uint8Array;
    version: number;
  }
  export interface Functions {
    /** Keys: 1 to 512 bytes of UTF-8. */
    get(key: string): Entry | null;
    /** `ttl-ms`: how long the pair lives; none = for ever. Values: at most 1 MiB. */
    set(key: string, value: Uint8Array, ttlMs: number | null): number;
    delete(key: string): boolean;
    /** At most 1,000 keys after `after`, in byte order. */
    keys(prefix: string, after: string | null, limit: number): Array<string>;
    /** Writes only if the stored version is `expected` (none = the key does not exist); says whether it did. */
    swap(key: string, expected: number | null, value: Uint8Array, ttlMs: number | null): boolean;
  }
  const functions: Functions;
  export default functions;
}

/** HTTP through the kernel's one door. Credentials are added there, never here. */
declare module "carapace:plugin/http" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export type { Pairs } from "carapace:plugin/types";
  import type { Pairs } from "carapace:plugin/types";
  export type Target =
    /** A path (with query) under an endpoint the manifest declares. */
    | { tag: "endpoint"; val: [string, string] }
    /** An opaque handle that a `capture` rule put in place of a credential-bearing URL. */
    | { tag: "handle"; val: string }
    /** Any public address. Needs the separate permission `http = "public"`. */
    | { tag: "public"; val: string };
  export type Body =
    | { tag: "none" }
    | { tag: "bytes"; val: Uint8Array };
  export interface Request {
    method: string;
    target: Target;
    headers: Pairs;
    body: Body;
    /** Until the response's head; none = the call's remaining wall time. */
    timeoutMs: number | null;
    extra: Pairs;
  }
  export interface Failure {
    error: Error;
    /** Whether a byte of the request may have reached the server: if false, trying again is safe. */
    sent: boolean;
  }
  export interface Response {
    status(): number;
    headers(): Pairs;
    /** Where the response came from, after redirects; without query or credentials. */
    url(): string;
    /** The next bytes, at most `max` (1 MiB); an empty list is the end. */
    read(max: number): Uint8Array;
  }
  export interface Functions {
    send(request: Request): Response;
  }
  const functions: Functions;
  export default functions;
}

/** What a component may know about its secrets: never a value. */
declare module "carapace:plugin/secrets" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Functions {
    exists(name: string): boolean;
    /** HMAC-SHA256 with a secret that the manifest declares for HMAC. */
    hmacSha256(name: string, data: Uint8Array): Uint8Array;
  }
  const functions: Functions;
  export default functions;
}

/** Where a provider pushes what the model says. */
declare module "carapace:plugin/completion" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export type { Pairs } from "carapace:plugin/types";
  import type { Pairs } from "carapace:plugin/types";
  export interface ToolCall {
    id: string;
    name: string;
    /** JSON text, as the model gave it. The kernel validates it against the tool's schema. */
    arguments: string;
    extra: Pairs;
  }
  /** Tokens, as the provider counts them. */
  export interface Usage {
    input: number;
    output: number;
    cachedInput: number;
    reasoning: number;
    extra: Pairs;
  }
  export type StopReason =
    | { tag: "end" }
    | { tag: "tool-calls" }
    | { tag: "length" }
    | { tag: "content-filter" }
    | { tag: "other"; val: string };
  export type Event =
    | { tag: "text"; val: string }
    | { tag: "reasoning"; val: string }
    /** A whole call: fragments are assembled in the provider. */
    | { tag: "tool-call"; val: ToolCall }
    | { tag: "usage"; val: Usage }
    | { tag: "stop"; val: StopReason }
    /** Opaque provider state to be handed back with the next request (a signature, a response id). */
    | { tag: "other"; val: [string, string] };
  export interface Functions {
    /** Blocks while the reader is slow. `cancelled` means: stop and return. */
    emit(event: Event): void;
  }
  const functions: Functions;
  export default functions;
}

/** A language model. One instance serves one completion. */
declare module "carapace:plugin/provider" {
  export type { Image } from "carapace:plugin/types";
  import type { Image } from "carapace:plugin/types";
  export type { Pairs } from "carapace:plugin/types";
  import type { Pairs } from "carapace:plugin/types";
  export type { ToolCall } from "carapace:plugin/completion";
  import type { ToolCall } from "carapace:plugin/completion";
  export interface Model {
    id: string;
    name: string;
    /** Tokens; none = not known. */
    context: number | null;
    output: number | null;
    tools: boolean;
    images: boolean;
    extra: Pairs;
  }
  export type Role = "system" | "user" | "assistant" | "tool";
  export interface ToolResult {
    callId: string;
    name: string;
    content: string;
    isError: boolean;
  }
  export type Part =
    | { tag: "text"; val: string }
    | { tag: "image"; val: Image }
    | { tag: "reasoning"; val: string }
    | { tag: "tool-call"; val: ToolCall }
    | { tag: "tool-result"; val: ToolResult }
    /** What a provider emitted as `other`, given back. */
    | { tag: "other"; val: [string, string] };
  export interface Message {
    role: Role;
    parts: Array<Part>;
  }
  export interface ToolSpec {
    name: string;
    description: string;
    parameters: string;
  }
  export type ToolChoice =
    | { tag: "auto" }
    | { tag: "none" }
    | { tag: "required" }
    | { tag: "named"; val: string };
  export interface Request {
    model: string;
    messages: Array<Message>;
    tools: Array<ToolSpec>;
    toolChoice: ToolChoice;
    maxOutput: number | null;
    temperature: number | null;
    topP: number | null;
    seed: number | null;
    stop: Array<string>;
    /** JSON Schema the answer must follow. */
    jsonSchema: string | null;
    extra: Pairs;
  }
  export type FailureKind =
    /** The credential is missing or refused. */
    | { tag: "authentication" }
    /** Too many requests, or out of quota for now. */
    | { tag: "rate-limited" }
    /** The request itself is wrong; repeating it will not help. */
    | { tag: "invalid-request" }
    /** The conversation does not fit the model. */
    | { tag: "context-length" }
    /** The model does not exist there. */
    | { tag: "unknown-model" }
    /** The server failed or could not be reached. */
    | { tag: "unavailable" }
    /** The stream broke off. */
    | { tag: "interrupted" }
    | { tag: "cancelled" }
    | { tag: "other"; val: string };
  export interface Failure {
    kind: FailureKind;
    message: string;
    retryable: boolean;
    retryAfterMs: number | null;
  }
  export interface Functions {
    models(): Array<Model>;
    complete(request: Request): void;
  }
  const functions: Functions;
  export default functions;
}

/** Read-only files that belong to the package, such as a model's weights. The signed manifest pins each by its digest. */
declare module "carapace:plugin/assets" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Info {
    /** Bytes. */
    size: number;
    /** SHA-256, lower-case hex. */
    sha256: string;
  }
  export interface Functions {
    /** `not-found` if the owner's machine does not have the file yet; the text says how to bring it. */
    describe(name: string): Info;
    /** At most `max` bytes (1 MiB) from `offset`; an empty list is the end. */
    read(name: string, offset: number, max: number): Uint8Array;
  }
  const functions: Functions;
  export default functions;
}

/** Short texts that last, under keys, with full-text search. What a note says may come from outside; the kernel keeps track of that. */
declare module "carapace:plugin/memory" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export type { Pairs } from "carapace:plugin/types";
  import type { Pairs } from "carapace:plugin/types";
  export interface Note {
    key: string;
    text: string;
    /** Milliseconds since the Unix epoch. */
    updatedMs: number;
    /** Text from outside had a hand in it. */
    tainted: boolean;
    extra: Pairs;
  }
  export interface Functions {
    read(key: string): Note | null;
    /** Keys: 1 to 512 bytes of UTF-8. Texts: at most 64 KiB. */
    write(key: string, text: string): void;
    delete(key: string): boolean;
    /** Newest first, at most 1,000. */
    list(limit: number): Array<Note>;
    /** Notes that hold any of the words, best match first, at most 100. Nothing in the query is syntax. */
    search(query: string, limit: number): Array<Note>;
  }
  const functions: Functions;
  export default functions;
}

/** Conversations, as far as whoever is behind this call may read them. */
declare module "carapace:plugin/sessions" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export type { Pairs } from "carapace:plugin/types";
  import type { Pairs } from "carapace:plugin/types";
  export interface Session {
    /** Opaque; what `read` takes. */
    id: string;
    /** What its first message begins with. */
    title: string;
    messages: number;
    /** Milliseconds since the Unix epoch. */
    updatedMs: number;
    extra: Pairs;
  }
  export interface Entry {
    /** `system`, `user`, `assistant` or `tool`. */
    role: string;
    /** What was said; past 32 KiB it is cut, and says so. */
    text: string;
    atMs: number;
    /** It may hold text from outside. */
    tainted: boolean;
    /** Of an assistant's: each `tool-call` (name and arguments) and `reasoning`. Of a tool's: `tool` (its name), `error`. */
    extra: Pairs;
  }
  export interface Functions {
    /** Newest first, at most 100. */
    list(limit: number): Array<Session>;
    /** The last messages, oldest first, at most 200. */
    read(session: string, limit: number): Array<Entry>;
  }
  const functions: Functions;
  export default functions;
}

/** The owner's configuration as it is in force, without anything secret. */
declare module "carapace:plugin/settings" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Functions {
    /** The part at a dotted path (`agent.route`; empty = all) as JSON; none if nothing stands there. */
    read(path: string): string | null;
  }
  const functions: Functions;
  export default functions;
}
