/**
 * A component's tests: the built component, verified, linked and limited as in the kernel, in a world made of data.
 *
 * `carapace-sdk test` builds the component and runs `tests/*.test.ts` with Node's test runner. The host is `carapace plugin test-host`.
 */
import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { ChannelCalls } from "./testing/channel.ts";
import { ProviderCalls } from "./testing/provider.ts";
import { kebab } from "./testing/wire.ts";

export { ProviderFailure, system, user } from "./testing/provider.ts";
export { ChannelFailure, frame, item, Led, webhook } from "./testing/channel.ts";

/** The test protocol that this version speaks. */
const PROTOCOL = 3;

/** What a server answers. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** A body of JSON, with its content type. */
  readonly json?: unknown;
  /** A body in pieces, each what one read gives. */
  readonly chunks?: readonly string[];
  /** After what there is of it, the body breaks off. */
  readonly breaks?: boolean;
}

/** No answer: the server cannot be reached, and nothing was sent. */
export const unreachable = Symbol("unreachable");

/** A tool's error. */
export class ToolFailure extends Error {
  override readonly name = "ToolFailure";
  constructor(readonly kind: string, message: string) {
    super(message);
  }
}

/** A call that ended without an answer: an exception, a limit, or the kernel refused it. The text is the kernel's, with its code. */
export class Ended extends Error {
  override readonly name = "Ended";
}

/** A part of what a tool answered. */
export interface Content {
  readonly kind: "text" | "image" | "file" | "structured" | "other";
  readonly value: unknown;
}

/** A request that the component sent. */
export interface Sent {
  readonly method: string;
  /** The path with its query, or the URL. */
  readonly path: string;
  readonly headers: readonly [string, string][];
  readonly body: string;
}

interface Fake {
  now_ms: number;
  config: unknown;
  exchanges: unknown[];
  refused: string[];
  random: number[];
  settings: unknown;
  secrets: Record<string, string>;
  sent: { method: string; target: Record<string, unknown>; headers: [string, string][]; body: number[] }[];
  logged: { level: string; message: string }[];
  emitted: unknown[];
  cancel_after: number | null;
  [more: string]: unknown;
}

interface Greeting {
  readonly protocol: number;
  readonly component: { readonly Ok?: string; readonly Err?: string };
  readonly fake?: Fake;
}

type Pending = { resolve: (line: string) => void; reject: (error: Error) => void };

/** The built component, in another process: one for all tests of this one. */
class Connection {
  static #only: Promise<Connection> | undefined;
  readonly #input: Writable;
  readonly #output: Socket;
  readonly #waiting: Pending[] = [];
  #tests = 0;
  #fresh = "";

  static open(): Promise<Connection> {
    return (this.#only ??= this.#start());
  }

  private constructor(component: string, carapace: string) {
    const child = spawn(carapace, ["plugin", "test-host", component], { stdio: ["pipe", "pipe", "inherit"] });
    const end = (error: Error): void => this.#waiting.splice(0).forEach((w) => w.reject(error));
    child.on("error", (e) => end(new Error(`cannot start ${carapace}: ${e.message}`)));
    child.on("close", () => end(new Error("the test host ended; what it said stands above")));
    createInterface({ input: child.stdout }).on("line", (line) => this.#waiting.shift()?.resolve(line));
    // It ends when its input does, which is when this process does; only an answer that is waited for keeps this one alive.
    child.unref();
    this.#input = child.stdin;
    this.#output = child.stdout as unknown as Socket;
    (child.stdin as unknown as Socket).unref();
  }

  static async #start(): Promise<Connection> {
    const { CARAPACE_TEST_COMPONENT: component, CARAPACE_TEST_HOST: carapace } = process.env;
    if (component === undefined || carapace === undefined) {
      throw new Error("CARAPACE_TEST_COMPONENT and CARAPACE_TEST_HOST are not set; run the tests with `carapace-sdk test`");
    }
    const connection = new Connection(component, carapace);
    const greeting = JSON.parse(await connection.hear()) as Greeting;
    if (greeting.protocol !== PROTOCOL) {
      throw new Error(
        `carapace and carapace-sdk are not of one version: the host's test protocol is ${greeting.protocol}, the SDK's ${PROTOCOL}; update the older of the two`,
      );
    }
    if (greeting.component.Err !== undefined || greeting.fake === undefined) {
      throw new Error(greeting.component.Err ?? "the host gives no world to test in; update carapace");
    }
    connection.#fresh = JSON.stringify(greeting.fake);
    return connection;
  }

  /** A number of its own for a test, and a world in which nothing is. */
  begin(): [test: number, fake: Fake] {
    this.#tests += 1;
    return [this.#tests, JSON.parse(this.#fresh) as Fake];
  }

  say(message: unknown): void {
    this.#input.write(`${JSON.stringify(message)}\n`);
  }

  /** The next line. Answers come in the order of the questions. */
  async hear(): Promise<string> {
    this.#output.ref();
    try {
      return await new Promise<string>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    } finally {
      if (this.#waiting.length === 0) this.#output.unref();
    }
  }
}

/** One test's host. What the component may find is set first, then it is called, then one looks at what it did. */
export class TestHost {
  readonly #connection: Connection;
  readonly #test: number;
  #fake: Fake;
  #calls = 0;
  #timezone: string | null = null;
  /** Calls of a channel. */
  readonly channel = new ChannelCalls((call) => this.#ask(call));
  /** Calls of a provider. */
  readonly provider = new ProviderCalls(
    (call) => this.#ask(call),
    () => this.#fake.emitted,
  );

  private constructor(connection: Connection) {
    this.#connection = connection;
    [this.#test, this.#fake] = connection.begin();
  }

  /** A host for one test, in which nothing is yet. `carapace-sdk test` says where the component is. */
  static async start(): Promise<TestHost> {
    return new TestHost(await Connection.open());
  }

  /** This test is over: lets go of what was kept for it. */
  stop(): void {
    this.#connection.say({ Over: { test: this.#test } });
  }

  /** The time, ms since the Unix epoch. Without this: 2026-07-01 12:34:56.789 UTC. */
  nowMs(now: number): this {
    this.#fake.now_ms = now;
    return this;
  }
  /** The next random bytes; after them a sequence that is the same in every run. */
  random(...bytes: number[]): this {
    this.#fake.random.push(...bytes);
    return this;
  }
  /** The instance's section of the configuration. */
  config(section: Record<string, unknown>): this {
    this.#fake.config = section;
    return this;
  }
  /** The owner's configuration. */
  settings(settings: Record<string, unknown>): this {
    this.#fake.settings = settings;
    return this;
  }
  /** A secret's value. The component never sees it. */
  secret(name: string, value: string): this {
    this.#fake.secrets[name] = value;
    return this;
  }
  /** The owner's time zone. */
  timezone(zone: string): this {
    this.#timezone = zone;
    return this;
  }
  /** The owner refused a capability: `kv`, `http:<endpoint>`, `memory` … */
  refuse(capability: string): this {
    this.#fake.refused.push(capability);
    return this;
  }
  /** The answer to the next request that nothing else answers; each is used once. */
  answer(answer: Answer | typeof unreachable): this {
    this.#fake.exchanges.push({ method: null, target: null, answer: wire(answer) });
    return this;
  }
  /** The answer to the next request of this method to this path of this endpoint, whatever its query. */
  on(method: string, endpoint: string, path: string, answer: Answer | typeof unreachable): this {
    this.#fake.exchanges.push({ method, target: `${endpoint}:${path}`, answer: wire(answer) });
    return this;
  }

  /** After that many events of a completion nobody wants the answer any more. */
  cancelAfter(events: number): this {
    this.#fake.cancel_after = events;
    return this;
  }

  /** What the component sent so far. */
  get sent(): Sent[] {
    return this.#fake.sent.map((s) => ({
      method: s.method,
      path: address(s.target),
      headers: s.headers,
      body: Buffer.from(s.body).toString(),
    }));
  }
  /** What it logged so far. */
  get logged(): { level: string; message: string }[] {
    return this.#fake.logged.map(({ level, message }) => ({ level: level.toLowerCase(), message }));
  }

  /** The names of the tools it offers. */
  async list(): Promise<string[]> {
    return (await this.#ask("List")).List as string[];
  }
  /** Calls a tool; throws {@link ToolFailure}, or {@link Ended}. */
  async call(name: string, args: Record<string, unknown> = {}): Promise<Content[]> {
    this.#calls += 1;
    const context = { call_id: `call-${this.#calls}`, session: "session", timezone: this.#timezone, extra: [] };
    const outcome = await this.#ask({ Tool: { name, arguments: JSON.stringify(args), context } });
    const { Ok, Err } = outcome.Tool as { Ok?: Record<string, unknown>[]; Err?: Record<string, string> };
    if (Err !== undefined) {
      const [kind, text] = Object.entries(Err)[0] ?? ["Other", ""];
      throw new ToolFailure(kebab(kind), text);
    }
    return (Ok ?? []).map((part) => {
      const [kind, value] = Object.entries(part)[0] ?? ["Other", ""];
      return { kind: kebab(kind) as Content["kind"], value };
    });
  }
  /** Calls a tool that answers with text. */
  async text(name: string, args: Record<string, unknown> = {}): Promise<string> {
    const parts = await this.call(name, args);
    return parts.map((p) => (typeof p.value === "string" ? p.value : JSON.stringify(p.value))).join("\n");
  }

  async #ask(call: unknown): Promise<Record<string, unknown>> {
    this.#connection.say({ Call: { test: this.#test, call, fake: this.#fake } });
    const { fake, outcome } = JSON.parse(await this.#connection.hear()) as {
      fake: Fake;
      outcome: Record<string, unknown>;
    };
    this.#fake = fake;
    if (typeof outcome.Ended === "string") throw new Ended(outcome.Ended);
    return outcome;
  }
}

function wire(answer: Answer | typeof unreachable): unknown {
  const none = { status: 0, headers: [], url: null, chunks: [], breaks: null, fails: null };
  if (answer === unreachable) return { ...none, fails: [{ Unavailable: "connection refused" }, false] };
  const headers = Object.entries(answer.headers ?? {});
  if (answer.json !== undefined) headers.push(["content-type", "application/json"]);
  const whole = answer.json === undefined ? (answer.body ?? "") : JSON.stringify(answer.json);
  const chunks = [whole, ...(answer.chunks ?? [])].map((piece) => [...Buffer.from(piece)]).filter((piece) => piece.length > 0);
  const breaks = answer.breaks === true ? { Unavailable: "the connection broke off" } : null;
  return { ...none, status: answer.status, headers, chunks, breaks };
}

function address(target: Record<string, unknown>): string {
  const endpoint = target.Endpoint as { path: string } | undefined;
  return endpoint?.path ?? String(target.Public ?? target.Handle ?? "");
}
