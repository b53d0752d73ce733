/// <reference path="../contract.d.ts" />
import type {
  Attachment,
  Content,
  Conversation,
  Description,
  Event,
  Failure,
  Item,
  Message,
  Outcome,
  Part,
  Receipt,
  WebhookRequest,
} from "carapace:plugin/channel";
import type { Request } from "carapace:plugin/http";
import { fromHost, toHost } from "./wire.ts";

/** Why a channel did not do it. */
export class ChannelFailure extends Error {
  override readonly name = "ChannelFailure";
  readonly retryable: boolean;
  readonly retryAfterMs: number | null;
  readonly scope: Failure["scope"];
  readonly uncertain: boolean;
  constructor(failure: Failure) {
    super(failure.message);
    ({ retryable: this.retryable, retryAfterMs: this.retryAfterMs, scope: this.scope, uncertain: this.uncertain } = failure);
  }
}

/** What a channel's event led to. */
export class Led {
  /** As the kernel gets it. */
  readonly outcome: Outcome;
  constructor(outcome: Outcome) {
    this.outcome = outcome;
  }
  /** The state. */
  get state(): unknown {
    return JSON.parse(text(this.outcome.state)) as unknown;
  }
  /** The messages that came in, edits included. */
  get messages(): Message[] {
    return this.outcome.inbound.flatMap((i) => (i.tag === "other" ? [] : [i.val as Message]));
  }
  /** Whether the n-th of them is an edit. */
  isEdit(n: number): boolean {
    return this.outcome.inbound[n]?.tag === "edited";
  }
  /** What is polled from now on: endpoint and path. */
  get polls(): string | undefined {
    return this.outcome.link?.tag === "poll" ? shown(this.outcome.link.val.request) : undefined;
  }
  /** Why it cannot go on. */
  get fatal(): string | undefined {
    return this.outcome.link?.tag === "fatal" ? this.outcome.link.val : undefined;
  }
  /** The requests that leave after the commit. */
  get requests(): { method: string; target: string; body: string }[] {
    return this.outcome.effects.flatMap((e) =>
      e.tag === "request"
        ? [{ method: e.val.method, target: shown(e.val), body: e.val.body.tag === "bytes" ? text(e.val.body.val) : "" }]
        : [],
    );
  }
  /** Whether a socket is kept open from now on, and how long the next connection waits at least, ms. */
  get keepsSocket(): number | undefined {
    return this.outcome.link?.tag === "socket" ? this.outcome.link.val : undefined;
  }
  /** The socket that is opened: endpoint, and path, URL, or `a captured link`. */
  get connects(): string | undefined {
    for (const e of this.outcome.effects) {
      if (e.tag === "connect") return `${e.val.endpoint}:${e.val.address.tag === "handle" ? "a captured link" : e.val.address.val}`;
    }
    return undefined;
  }
  /** Whether another connection is asked for. */
  get dials(): boolean {
    return this.outcome.effects.some((e) => e.tag === "dial");
  }
  /** What is sent through sockets, in order, as text. */
  get frames(): { socket: number; text: string }[] {
    return this.outcome.effects.flatMap((e) => (e.tag === "frame" ? [{ socket: e.val.socket, text: text(e.val.data) }] : []));
  }
  /** The sockets that are ended, with their codes. */
  get closes(): { socket: number; code: number }[] {
    return this.outcome.effects.flatMap((e) => (e.tag === "close" ? [{ socket: e.val.socket, code: e.val.code }] : []));
  }
  /** The answer to a webhook. */
  get response(): { status: number; body: string } | undefined {
    const response = this.outcome.response;
    return response === null ? undefined : { status: response.status, body: text(response.body) };
  }
}

/** A thing out of a poll's response, as an event: its data as text, or a value as JSON. */
export function item(cursor: string, data: unknown): Event {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return { tag: "item", val: { cursor, data: new Uint8Array(Buffer.from(text)) } };
}

/** A request to a webhook, as an event; a body that is no text is sent as JSON. */
export function webhook(name: string, body: unknown, more: Partial<Omit<WebhookRequest, "webhook" | "body">> = {}): Event {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const request = { method: "POST", query: "", headers: [], ...more, webhook: name, body: new Uint8Array(Buffer.from(text)) };
  return { tag: "webhook", val: request };
}

/** A text, or a value as JSON, that came through a socket, as an event. */
export function frame(socket: number, data: unknown): Event {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return { tag: "frame", val: { socket, text: true, data: new Uint8Array(Buffer.from(text)) } };
}

/** Calls of a channel; its failures are thrown as {@link ChannelFailure}. */
export class ChannelCalls {
  readonly #ask: (call: unknown) => Promise<Record<string, unknown>>;
  /** @internal */
  constructor(ask: (call: unknown) => Promise<Record<string, unknown>>) {
    this.#ask = ask;
  }
  /** What it says about its platform. */
  async describe(): Promise<Description> {
    return fromHost(await this.#answer("Description", "Describe")) as Description;
  }
  /** Starts it with a state; without one, for the first time. */
  async start(state?: unknown): Promise<Led> {
    return new Led(await this.#result("Outcome", { Start: { state: bytes(state) } }));
  }
  /** Gives it an event, for the first time unless it is said otherwise. */
  async event(state: unknown, event: Event, attempt = 1): Promise<Led> {
    return new Led(await this.#result("Outcome", { Event: { state: bytes(state), event: toHost(event), attempt } }));
  }
  /** Splits what a poll brought; a body that is no text is given as JSON. */
  async split(status: number, body: unknown, headers: [string, string][] = []): Promise<Item[]> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return this.#result("Items", { Split: { status, headers, body: [...Buffer.from(text)] } });
  }
  /** Renders a text for a conversation. */
  async render(conversation: Conversation, text: string, more: Partial<Omit<Content, "text">> = {}): Promise<Part[]> {
    const content: Content = { replyTo: null, files: [], extra: [], ...more, text };
    return this.#result("Parts", { Render: [toHost(conversation), toHost(content)] });
  }
  /** Sends a part. */
  async send(conversation: Conversation, part: Part, key: string, attempt = 1): Promise<Receipt> {
    return this.#result("Receipt", { Send: toHost({ conversation, part, key, attempt }) });
  }
  /** Puts a part in the place of one that was sent. */
  async edit(conversation: Conversation, part: Part, key: string, id: string): Promise<void> {
    await this.#result("Done", { Edit: [toHost({ conversation, part, key, attempt: 1 }), id] });
  }
  /** Fetches a file that came with a message: the id of a blob. */
  async fetchMedia(attachment: Pick<Attachment, "reference"> & Partial<Attachment>): Promise<string> {
    const whole: Attachment = { name: null, mime: null, size: null, extra: [], ...attachment };
    return this.#result("Media", { FetchMedia: toHost(whole) });
  }
  /** Shows that somebody writes, or no longer. */
  async typing(conversation: Conversation, on = true): Promise<void> {
    await this.#result("Done", { Typing: [toHost(conversation), on] });
  }

  async #answer(kind: string, call: unknown): Promise<unknown> {
    const answer = (await this.#ask({ Channel: call })).Channel as Record<string, unknown> | undefined;
    if (answer === undefined || !(kind in answer)) {
      throw new Error(`the test host gave another kind of answer than was asked for: ${JSON.stringify(answer)}`);
    }
    return answer[kind];
  }
  async #result<T>(kind: string, call: unknown): Promise<T> {
    const { Ok, Err } = (await this.#answer(kind, call)) as { Ok?: unknown; Err?: unknown };
    if (Err !== undefined) throw new ChannelFailure(fromHost(Err) as Failure);
    return fromHost(Ok) as T;
  }
}

function bytes(state: unknown): number[] {
  return state === undefined ? [] : [...Buffer.from(JSON.stringify(state))];
}
function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
function shown({ target }: Request): string {
  return target.tag === "endpoint" ? target.val.join(":") : target.tag === "handle" ? "a captured link" : target.val;
}
