/// <reference path="./contract.d.ts" />
/**
 * Channels: ways to people, on a chat platform.
 *
 * A channel is a reducer: the kernel says what happened, the component answers with its new state and what follows. All of it is
 * committed at once; only then do requests leave. Nothing is kept between two calls but the state.
 */
import "./globals.ts";
import type {
  Attachment,
  Content,
  Conversation,
  Description,
  Event,
  Failure as WitFailure,
  Functions,
  Item,
  Message,
  Outcome as WitOutcome,
  Outgoing,
  Part,
  PollResponse,
  Receipt,
  Sender,
  SocketAddress,
  TextUnit,
} from "carapace:plugin/channel";
import type { HostError } from "./error.ts";
import { HttpError, type Prepared } from "./http.ts";
import { refusal, synchronous } from "./thrown.ts";
import { decode, encode } from "./utf8.ts";

export type { Attachment, Content, Conversation, Event, Item, Message, Outgoing, Part, PollResponse, Receipt, Sender, TextUnit };
export type { Closed, Dial, Frame, Line, Scope, TypingSupport, WebhookRequest, WebhookResponse } from "carapace:plugin/channel";

/** The longest that the engine takes as one number of 32 bits, ms. */
const LONGEST = 0x7fff_ffff;

/** With some fields that have a value of their own if they are not given. */
type With<T, K extends keyof T> = Omit<T, K> & Partial<Pick<T, K>>;
/**
 * What the platform can do: without `keyWindowS` it drops no second message, without `fileLimit` no file is sent, without `typing` nothing
 * is shown, without `edits` nothing is changed.
 */
export type Described = With<Description, "keyWindowS" | "fileLimit" | "typing" | "edits" | "extra">;
/** A message that came in. */
export type Said = With<Message, "mentionsMe" | "replyTo" | "atMs" | "attachments" | "extra">;

/** A socket to be opened, to an address that a `[[socket]]` of the manifest covers. */
export interface Socket {
  /** Its name there. */
  readonly endpoint: string;
  /** A path (with query) under its `url`, a whole URL, or the handle that a `capture` rule put in place of one. */
  readonly to: { readonly path: string } | { readonly url: string } | { readonly handle: string };
  /** Of the handshake. Credentials are the kernel's. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The kernel pings as often, and ends a socket that was silent for two of them. */
  readonly pingMs?: number;
}

/** What a component that is a channel does. */
export interface Channel<S> {
  /** The state before the very first start. It lasts as JSON, at most 64 KiB; a later version must read what an earlier one wrote. */
  readonly initial: S;
  /** What the platform can do. Calls no import. */
  describe(): Described;
  /** The first thing after a start, an update, or a change of the configuration. */
  start(state: S): Outcome<S>;
  /** Something happened. `attempt` counts from 1; an event on which it ends without an answer three times is put aside. */
  onEvent(state: S, event: Event, attempt: number): Outcome<S>;
  /** What a poll brought, in order. Calls no import. */
  split?(response: PollResponse): Item[];
  /** Converts the markup and splits at the platform's limit. Calls no import. */
  render(conversation: Conversation, content: Content): Part[];
  /** Sends one message. */
  send(outgoing: Outgoing): Receipt;
  /**
   * Puts a part in the place of one that was sent; `id` is that of its receipt. That it says the same already is no failure. Called only if
   * `describe` says `edits`.
   */
  edit?(outgoing: Outgoing, id: string): void;
  /** Shows that somebody is writing, or no longer. */
  typing?(conversation: Conversation, on: boolean): void;
  /**
   * Fetches a file that came with a message: the id of a blob, such as `http.Response`'s `toBlob` or `blob.put` give. Called only with
   * `[blob]` granted.
   */
  fetchMedia?(attachment: Attachment): string;
}

/** Why it was not done, and what the kernel may do about it. */
export class Failure extends Error {
  override readonly name = "Failure";
  /** As it goes to the kernel. */
  readonly payload: WitFailure;
  constructor(message: string, more: Partial<Omit<WitFailure, "message">> = {}) {
    super(message);
    this.payload = { retryable: false, retryAfterMs: null, scope: "conversation", uncertain: false, ...more, message };
  }
  /** Trying again will not help. */
  static last(message: string): Failure {
    return new Failure(message);
  }
  /** Trying again may help, after so long if that is known. */
  static retryable(message: string, retryAfterMs: number | null = null): Failure {
    return new Failure(message, { retryable: true, retryAfterMs });
  }
  /** After so long, and everything of this account waits. */
  accountWaits(retryAfterMs: number | null = this.payload.retryAfterMs): Failure {
    return new Failure(this.message, { ...this.payload, retryable: true, retryAfterMs, scope: "account" });
  }
  /** It may have been done all the same. */
  uncertain(): Failure {
    return new Failure(this.message, { ...this.payload, uncertain: true });
  }
  /** What an import's error is. A request that may have reached the server may have been carried out. */
  static from(error: HostError): Failure {
    const retryable = ["unavailable", "timeout", "cancelled", "limit"].includes(error.kind);
    return new Failure(error.message, { retryable, uncertain: error instanceof HttpError && error.sent });
  }
}

/** What follows from an event: the state, and what has to happen once it is durable. */
export class Outcome<S> {
  readonly #follows: Omit<WitOutcome, "state"> = { inbound: [], effects: [], timers: [], link: null, response: null, extra: [] };
  constructor(readonly state: S) {}

  /** A message came in. */
  message(message: Said): this {
    this.#follows.inbound.push({ tag: "message", val: whole(message) });
    return this;
  }
  /** A message says something else now. Its key differs from the first one's. */
  edited(message: Said): this {
    this.#follows.inbound.push({ tag: "edited", val: whole(message) });
    return this;
  }
  /** A request that leaves after the commit, in order; its response is not seen. */
  request(request: Prepared): this {
    this.#follows.effects.push({ tag: "request", val: request });
    return this;
  }
  /** A timer, in so long; at most `jitterMs` later, by chance. It replaces one of the same id, and outlives a restart. */
  timer(id: string, afterMs: number, jitterMs = 0): this {
    this.#follows.timers.push({ id, afterMs: bounded(afterMs), jitterMs: bounded(jitterMs) });
    return this;
  }
  /** A timer that is not wanted any more. */
  withoutTimer(id: string): this {
    this.#follows.timers.push({ id, afterMs: null, jitterMs: 0 });
    return this;
  }
  /** The kernel repeats this request from now on; `restMs` lies between two that brought nothing. */
  poll(request: Prepared, restMs: number): this {
    this.#follows.link = { tag: "poll", val: { request, minIntervalMs: bounded(restMs) } };
    return this;
  }
  /**
   * A socket is kept open from now on: the event `dial` comes whenever there is none, and no sooner than after `waitMs`. Whoever has said it
   * once says it again only to wait.
   */
  socket(waitMs = 0): this {
    this.#follows.link = { tag: "socket", val: bounded(waitMs) };
    return this;
  }
  /** Opens a socket. The event `opened` follows, or `dial` with the reason `failed`. */
  connect({ endpoint, to, headers = {}, pingMs }: Socket): this {
    const address: SocketAddress =
      "path" in to ? { tag: "path", val: to.path } : "url" in to ? { tag: "url", val: to.url } : { tag: "handle", val: to.handle };
    const ping = pingMs === undefined ? null : bounded(pingMs);
    const target = { endpoint, address, headers: Object.entries(headers), pingMs: ping, extra: [] };
    this.#follows.effects.push({ tag: "connect", val: target });
    return this;
  }
  /** Asks for the event `dial` although a socket is open, so that another takes over from it. */
  dial(): this {
    this.#follows.effects.push({ tag: "dial" });
    return this;
  }
  /** Sends a text, or bytes, through a socket, once all of this is durable. */
  frame(socket: number, data: string | Uint8Array): this {
    const text = typeof data === "string";
    this.#follows.effects.push({ tag: "frame", val: { socket, text, data: text ? encode(data) : data } });
    return this;
  }
  /** Sends a value as JSON through a socket. Leave `null` where the manifest's `inject` sets a secret. */
  frameJson(socket: number, value: unknown): this {
    return this.frame(socket, JSON.stringify(value));
  }
  /** Ends a socket. What has come in already is still given, then `closed`. `code`: 1000, or from 3000 to 4999. */
  close(socket: number, code = 1000, reason = ""): this {
    this.#follows.effects.push({ tag: "close", val: { socket, code, reason } });
    return this;
  }
  /** Nothing is polled, and no socket kept, from now on. */
  idle(): this {
    this.#follows.link = { tag: "idle" };
    return this;
  }
  /** It cannot go on without the owner; `why` says what to do. */
  fatal(why: string): this {
    this.#follows.link = { tag: "fatal", val: why };
    return this;
  }
  /** The answer to a webhook. Without it: 200 and no body. */
  respond(status: number, contentType: string, body: string | Uint8Array): this {
    const bytes = typeof body === "string" ? encode(body) : body;
    this.#follows.response = { status, headers: [["content-type", contentType]], body: bytes };
    return this;
  }
  /** A line is not taken; its program is told why. */
  refuseLine(why: string): this {
    return this.respond(400, "text/plain; charset=utf-8", why);
  }
  /** As it goes to the kernel. */
  follows(): WitOutcome {
    return { state: encode(JSON.stringify(this.state ?? null)), ...this.#follows };
  }
}

/** The state, and nothing else yet. */
export function outcome<S>(state: S): Outcome<S> {
  return new Outcome(state);
}

/** The export `channel`: `export const channel = defineChannel<State>({ … })`. Each call is served by a fresh instance. */
export function defineChannel<S>(channel: Channel<S>): Functions {
  const done = <T>(what: string, call: () => T): T => {
    try {
      return synchronous(call(), what);
    } catch (thrown) {
      throw refusal(thrown, Failure, Failure.from);
    }
  };
  const kept = (state: ArrayLike<number>): S => (state.length === 0 ? channel.initial : (read(state, "the state that was kept") as S));
  return {
    describe: () => done("describe", () => ({ keyWindowS: 0, fileLimit: 0, typing: null, edits: null, extra: [], ...channel.describe() })),
    start: (state) => done("start", () => channel.start(kept(state)).follows()),
    onEvent: (state, event, attempt) =>
      done("onEvent", () => channel.onEvent(kept(state), given(event), attempt).follows()),
    split: (response) =>
      done("split", () => {
        if (channel.split === undefined) throw Failure.last(`nothing is polled here, and yet an answer came: ${response.status}`);
        return channel.split({ ...response, body: Uint8Array.from(response.body) });
      }),
    render: (conversation, content) => done("render", () => channel.render(conversation, content)),
    send: (outgoing) => done("send", () => channel.send(ready(outgoing))),
    edit: (outgoing, id) =>
      done("edit", () => {
        if (channel.edit === undefined) throw Failure.last(`nothing is changed here: ${id}, ${outgoing.key}`);
        channel.edit(ready(outgoing), id);
      }),
    typing: (conversation, on) => done("typing", () => channel.typing?.(conversation, on)),
    fetchMedia: (attachment) =>
      done("fetchMedia", () => {
        if (channel.fetchMedia === undefined) throw Failure.last(`files are not fetched here: ${attachment.reference}`);
        return channel.fetchMedia(attachment);
      }),
  };
}

function ready({ part, ...more }: Outgoing): Outgoing {
  return { ...more, part: { ...part, data: Uint8Array.from(part.data) } };
}

/** The engine gives bytes as arrays of numbers; code is given bytes. */
function given(event: Event): Event {
  switch (event.tag) {
    case "item":
      return { tag: "item", val: { ...event.val, data: Uint8Array.from(event.val.data) } };
    case "webhook":
      return { tag: "webhook", val: { ...event.val, body: Uint8Array.from(event.val.body) } };
    case "frame":
      return { tag: "frame", val: { ...event.val, data: Uint8Array.from(event.val.data) } };
    default:
      return event;
  }
}

function whole(message: Said): Message {
  return { mentionsMe: false, replyTo: null, atMs: null, attachments: [], extra: [], ...message };
}

function bounded(ms: number): number {
  return Math.min(Math.max(Math.ceil(ms), 0), LONGEST);
}

function read(bytes: ArrayLike<number>, what: string): unknown {
  try {
    return JSON.parse(decode(bytes)) as unknown;
  } catch (thrown) {
    throw Failure.last(`${what} cannot be read as JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

/** Bytes as text; what is not UTF-8 becomes `�`. */
export function text(bytes: ArrayLike<number>): string {
  return decode(bytes);
}
/** Bytes read as JSON. What it is, the caller must check; what is no JSON will be none the next time, and fails as {@link Failure.last}. */
export function json(bytes: ArrayLike<number>): unknown {
  return read(bytes, "what was said");
}
/** One thing out of a poll's response, kept as JSON. */
export function item(cursor: string, data: unknown): Item {
  return { cursor, data: encode(JSON.stringify(data)) };
}
/** A message of the platform: what a person will read, and for `send` what it is, as JSON. */
export function part(text: string, data: unknown): Part {
  return { text, data: encode(JSON.stringify(data)) };
}
/** One person and the assistant. */
export function direct(id: string, thread: string | null = null): Conversation {
  return { id, kind: "direct", thread, title: null };
}
/** Several people. */
export function group(id: string, title: string | null = null, thread: string | null = null): Conversation {
  return { id, kind: "group", thread, title };
}
/** A person. */
export function person(id: string, name: string): Sender {
  return { id, name, isBot: false, isMe: false };
}
/** The platform's id of what was sent. */
export function receipt(id: string): Receipt {
  return { id, extra: [] };
}

/**
 * Cuts a text into pieces of at most `limit` units (at least a character each), which together are the text: after the last line's end in
 * a piece, else after its last space, else where the limit is. It knows nothing of markup.
 */
export function pieces(text: string, limit: number, unit: TextUnit): string[] {
  // No unit has more than three for a unit of UTF-16: most texts need not be counted.
  if (text !== "" && text.length * (unit === "bytes" ? 3 : 1) <= limit) return [text];
  const cut: string[] = [];
  for (let rest = text; rest !== ""; ) {
    const at = end(rest, limit, unit);
    cut.push(rest.slice(0, at));
    rest = rest.slice(at);
  }
  return cut;
}

function end(text: string, limit: number, unit: TextUnit): number {
  let [at, units] = [0, 0];
  for (const character of text) {
    units += unit === "utf16" ? character.length : unit === "scalars" ? 1 : width(character.codePointAt(0) ?? 0);
    if (units > limit && at > 0) {
      const fits = text.slice(0, at);
      const cut = fits.includes("\n") ? fits.lastIndexOf("\n") : fits.lastIndexOf(" ");
      return cut < 0 ? at : cut + 1;
    }
    at += character.length;
  }
  return text.length;
}

/** Bytes of UTF-8. */
function width(point: number): number {
  return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x1_0000 ? 3 : 4;
}
