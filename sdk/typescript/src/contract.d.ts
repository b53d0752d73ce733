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
    /**
     * In a conversation of this instance's own channel: `conversation`, `conversation-kind` (`direct`, `group`, `broadcast`), `thread`,
     * `message` (what is being answered), `reply-to` (what that answers), `last-sent` (what was last said there): the platform's ids.
     */
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
    /**
     * In which form the pairs are kept: the number (`[kv] schema`) of the version that wrote the first of them, or that last said
     * `migrated`. The running version's own if there are none.
     */
    schema(): number;
    /** Says that the pairs are in the running version's form now. */
    migrated(): void;
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
    /**
     * `blob`: `OFFSET ID` puts the bytes of a blob before the byte `OFFSET` of the body, `blob-base64` their base64 (RFC 4648 §4, padded).
     * Offsets are those of the body as it stands here, and do not fall. Needs `[blob]`.
     */
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
    /** Keeps what was not read yet as a blob, without handing it out; its id. Needs `[blob]`. `limit` if it is longer than `max` bytes. */
    toBlob(max: number): string;
  }
  export interface Functions {
    send(request: Request): Response;
  }
  const functions: Functions;
  export default functions;
}

/**
 * A chat platform, as a reducer. The kernel owns polls, timers and the webhook listener, and says what happened; what the component
 * answers is committed in one transaction, and only then do the effects leave. So whatever is acknowledged upstream is durable here.
 * A fresh instance serves each call: what must last is in `state`.
 */
declare module "carapace:plugin/channel" {
  export type { Pairs } from "carapace:plugin/types";
  import type { Pairs } from "carapace:plugin/types";
  export type { Request } from "carapace:plugin/http";
  import type { Request } from "carapace:plugin/http";
  export type TextUnit = "bytes" | "utf16" | "scalars";
  /** How the platform shows that somebody is writing. */
  export interface TypingSupport {
    /** Shown for so long; the kernel repeats it before. */
    lastsMs: number;
    /** It can be taken back. */
    stops: boolean;
  }
  /** What was said can be changed: an answer is shown while it grows. How long lies between two changes of a message, at least. */
  export interface EditSupport {
    directMs: number;
    groupMs: number;
  }
  export interface Description {
    /** Longest text of one message, in `text-unit`s. */
    textLimit: number;
    textUnit: TextUnit;
    /** For so many seconds the platform drops a second message with the same key; 0 = it does not. */
    keyWindowS: number;
    /** The largest file that can be sent, bytes; 0 = none. */
    fileLimit: number;
    typing: TypingSupport | null;
    edits: EditSupport | null;
    extra: Pairs;
  }
  export type ConversationKind = "direct" | "group" | "broadcast";
  export interface Conversation {
    /** The platform's: 1 to 256 bytes, unique within the instance. */
    id: string;
    kind: ConversationKind;
    thread: string | null;
    title: string | null;
  }
  export interface Sender {
    /** The platform's. Without one nobody is answered. */
    id: string;
    name: string;
    isBot: boolean;
    /** The account that this component speaks with. */
    isMe: boolean;
  }
  /** A file by reference; it is fetched later, if at all. */
  export interface Attachment {
    reference: string;
    name: string | null;
    mime: string | null;
    /** Bytes, as the platform says. */
    size: number | null;
    extra: Pairs;
  }
  export interface Message {
    /** The same key is the same message, however often it comes: 1 to 256 bytes. */
    key: string;
    /** The platform's id of it, for replies; empty if it has none. */
    id: string;
    conversation: Conversation;
    sender: Sender;
    text: string;
    /** It names the assistant, or answers something that the assistant said. */
    mentionsMe: boolean;
    replyTo: string | null;
    /** When it was written, by the platform's clock. */
    atMs: number | null;
    attachments: Array<Attachment>;
    extra: Pairs;
  }
  export type Inbound =
    | { tag: "message"; val: Message }
    /** What a message says now; its key differs from the first one's. */
    | { tag: "edited"; val: Message }
    | { tag: "other"; val: [string, string] };
  /** One thing out of a poll's response. */
  export interface Item {
    /** Tells it from its neighbours. */
    cursor: string;
    data: Uint8Array;
  }
  export interface WebhookRequest {
    /** Which of the manifest's webhooks. Its recipe has been checked: the request is authentic. */
    webhook: string;
    method: string;
    /** Without `?`; may be empty. */
    query: string;
    headers: Pairs;
    body: Uint8Array;
  }
  export interface WebhookResponse {
    status: number;
    headers: Pairs;
    body: Uint8Array;
  }
  /** A connection is wanted: answer with the effect `connect`, now or after another event. */
  export interface Dial {
    /** `start`, `closed` (none is left), `failed` (the last one did not come about), `asked`. */
    reason: string;
    /** Attempts in a row that did not come about. */
    failures: number;
    /** Of `failed`: the status that the server answered, if it was no WebSocket. */
    status: number | null;
    /** The sockets that are open: after a start of the kernel none, after an update those from before. */
    open: Array<number>;
  }
  /** Where a socket leads. */
  export type SocketAddress =
    /** A path (with query) under the `url` of the manifest's `[[socket]]`. */
    | { tag: "path"; val: string }
    /** A whole URL that its `hosts` cover. */
    | { tag: "url"; val: string }
    /** An opaque handle that a `capture` rule of an `[[http]]` endpoint put in place of a URL; its `hosts` cover that. */
    | { tag: "handle"; val: string };
  export interface SocketTarget {
    /** A `[[socket]]` of the manifest. */
    endpoint: string;
    address: SocketAddress;
    /** Of the handshake. Credentials are added by the kernel, never here. */
    headers: Pairs;
    /** The kernel pings as often; what is silent for two of them is closed. None = it does not: the component knows better. */
    pingMs: number | null;
    extra: Pairs;
  }
  /** What came through a socket, or shall. */
  export interface Frame {
    /** As `opened` named it. None is given twice in a life of the kernel. */
    socket: number;
    /** Else binary. */
    text: boolean;
    data: Uint8Array;
  }
  /** A socket has ended; once for each that was `opened`. */
  export interface Closed {
    socket: number;
    /** The other side's; none = it went without one. */
    code: number | null;
    reason: string;
  }
  /** Ends a socket. What has come in already is still given, then `closed`. */
  export interface Closing {
    socket: number;
    /** 1000, or from 3000 to 4999. */
    code: number;
    reason: string;
  }
  /** What a program on this computer wrote, that has shown the owner's token. */
  export interface Line {
    /**
     * The name under which it is attached: 1 to 64 of `A-Z a-z 0-9 . _ -`. A message whose conversation and sender have this as their id, directly,
     * is the owner's.
     */
    client: string;
    /** The same line has the same id, however often it comes. */
    id: string;
    /** At most 64 KiB; perhaps of more lines than one. */
    text: string;
  }
  export type Event =
    | { tag: "item"; val: Item }
    /** The kernel gave up on the item of this cursor: move past it. */
    | { tag: "passed-over"; val: string }
    /** A timer has run down. */
    | { tag: "timer"; val: string }
    | { tag: "webhook"; val: WebhookRequest }
    | { tag: "dial"; val: Dial }
    /** A socket that was asked for is there. */
    | { tag: "opened"; val: number }
    | { tag: "frame"; val: Frame }
    | { tag: "closed"; val: Closed }
    /** Only with `[lines]`. */
    | { tag: "line"; val: Line }
    | { tag: "other"; val: [string, string] };
  export interface Timer {
    id: string;
    /** From now; none = it is not wanted any more. A timer of the same id is replaced. */
    afterMs: number | null;
    /** At most so much later, by chance. */
    jitterMs: number;
  }
  /** The kernel repeats the request until it is given another link. */
  export interface Poll {
    request: Request;
    /** From the end of one to the beginning of the next, when there was nothing. */
    minIntervalMs: number;
  }
  export type Link =
    | { tag: "poll"; val: Poll }
    /** Nothing is fetched: what there is comes by webhook. */
    | { tag: "idle" }
    /**
     * A socket is kept open: `dial` is given when there is none. The kernel waits longer from one failure to the next; the next `dial`
     * waits at least so many milliseconds. Each time it is said, this counts anew.
     */
    | { tag: "socket"; val: number }
    /** It cannot go on without the owner; the text says what to do. */
    | { tag: "fatal"; val: string }
    | { tag: "other"; val: string };
  export type Effect =
    /** Sent after the commit, in order. Its response is not seen. */
    | { tag: "request"; val: Request }
    /** Opens a socket; it takes the place of one that is still being opened. At most two are open: the second is there to take over. */
    | { tag: "connect"; val: SocketTarget }
    /** To a socket that is gone, it is dropped. */
    | { tag: "frame"; val: Frame }
    | { tag: "close"; val: Closing }
    /** Asks for `dial`, although a socket is open: to take over from it. */
    | { tag: "dial" }
    | { tag: "other"; val: [string, string] };
  export interface Outcome {
    /** At most 64 KiB. */
    state: Uint8Array;
    /** At most 256. */
    inbound: Array<Inbound>;
    /** At most 64. */
    effects: Array<Effect>;
    /** At most 64. */
    timers: Array<Timer>;
    /** None = as before. */
    link: Link | null;
    /** To a webhook; none = 200 without a body. To a line: from 400 it is refused, and the body (text) says why. */
    response: WebhookResponse | null;
    extra: Pairs;
  }
  export interface PollResponse {
    status: number;
    headers: Pairs;
    body: Uint8Array;
  }
  export type Scope = "conversation" | "account";
  export interface Failure {
    message: string;
    /** The same may succeed later. */
    retryable: boolean;
    retryAfterMs: number | null;
    /** What has to wait. */
    scope: Scope;
    /** It may have been done all the same. */
    uncertain: boolean;
  }
  /** A file that goes out. */
  export interface File {
    /** The blob, which this instance may put into its requests from now on. */
    blob: string;
    /** One line, without a path. */
    name: string;
    /** What the kernel saw its bytes to be. */
    mime: string;
    /** Bytes. */
    size: number;
  }
  /** What is to be said. */
  export interface Content {
    /** Markdown (CommonMark); may be empty if there are files. */
    text: string;
    replyTo: string | null;
    /** None larger than `file-limit`, at most 10; none at all without `[blob]`. */
    files: Array<File>;
    /** `message`: the platform's id of the message that led to this; not there if none did. */
    extra: Pairs;
  }
  /** One message of the platform, ready to be sent. */
  export interface Part {
    /** What a person will read, for lists. */
    text: string;
    /** For `send`; at most 256 KiB. */
    data: Uint8Array;
  }
  export interface Outgoing {
    conversation: Conversation;
    part: Part;
    /** The same each time this part is tried. */
    key: string;
    /** From 1. */
    attempt: number;
  }
  export interface Receipt {
    /** The platform's id of what was sent. */
    id: string;
    extra: Pairs;
  }
  export interface Functions {
    /** Pure: no import is called. */
    describe(): Description;
    /** The first thing after a start, an update, or a change of the configuration. `state` is empty the first time. */
    start(state: Uint8Array): Outcome;
    /** `attempt`: from 1; after the third that traps the event is put aside. */
    onEvent(state: Uint8Array, event: Event, attempt: number): Outcome;
    /** Pure: what a poll brought, in order. */
    split(response: PollResponse): Array<Item>;
    /** Pure: converts the markup and splits at the platform's limit. At most 64 parts. */
    render(conversation: Conversation, content: Content): Array<Part>;
    send(outgoing: Outgoing): Receipt;
    /** Puts a part in the place of one that was sent; its receipt's id. That it says the same already is no failure. Called only with `edits`. */
    edit(outgoing: Outgoing, id: string): void;
    typing(conversation: Conversation, on: boolean): void;
    /**
     * Fetches a file that came with a message, after the message is durable and before anybody reads it; the id of a blob. Called only with `[blob]`
     * granted, and again if the failure is retryable.
     */
    fetchMedia(attachment: Attachment): string;
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

/** What only the owner can give. Asking changes nothing: it is recorded, and waits for a person. */
declare module "carapace:plugin/requests" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Functions {
    /**
     * Proposes that a component be installed. `name`: as in a registry, `name` or `publisher/name`, perhaps with `@requirement`; no file
     * and no address. `reason`: why, for the owner to read; at most 500 characters, quoted to them as the component's words. Gives the request's
     * id. `limit` if too many wait already; `invalid` if this one does.
     */
    install(name: string, reason: string): string;
  }
  const functions: Functions;
  export default functions;
}

/** Says something elsewhere than in the conversation of the call. */
declare module "carapace:plugin/message" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Functions {
    /**
     * Sends a text (Markdown, 1 byte to 64 KiB) to a target: `owner` (where they last wrote directly; anybody who may send can), or, when the
     * owner is behind the call, a name that their configuration lists. It is durable when this returns, and leaves like any answer. Gives what
     * was put on its way, for a person. `not-found` names the targets there are; `limit` after 8 messages of one call.
     */
    send(target: string, text: string): string;
  }
  const functions: Functions;
  export default functions;
}

/** Programs on this computer that talk line by line and have shown the owner's token: what they write comes as the channel's event `line`. */
declare module "carapace:plugin/lines" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Functions {
    /**
     * Writes to whoever is attached under this name, and returns when one of them has said that it has it. `key`: the same each time this is
     * written, so that nothing is shown twice; 1 to 256 bytes. `text`: at most 256 KiB. `unavailable` if nobody is attached, or went before they
     * said so.
     */
    write(client: string, key: string, text: string): void;
  }
  const functions: Functions;
  export default functions;
}

/** Media: bytes under the name of what they are. The kernel keeps them for 30 days after they were last brought, and says what they are. */
declare module "carapace:plugin/blob" {
  export type { Error } from "carapace:plugin/types";
  import type { Error } from "carapace:plugin/types";
  export interface Info {
    /** Bytes. */
    size: number;
    /** What the bytes are, seen by the kernel and told by nobody: `image/png`; `application/octet-stream` if it cannot tell. */
    mime: string;
  }
  export interface Functions {
    /** Keeps up to 8 MiB; the id is the SHA-256 of the bytes, lower-case hex. */
    put(data: Uint8Array): string;
    /** Of what this instance brought or was given; anything else is `not-found`. */
    describe(id: string): Info;
    /** At most `max` bytes (1 MiB) from `offset`; an empty list is the end. */
    read(id: string, offset: number, max: number): Uint8Array;
  }
  const functions: Functions;
  export default functions;
}
