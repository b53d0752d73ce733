import host, { type Response as WitResponse, type Target } from "carapace:plugin/http";
import { HostError, of, payload } from "./error.ts";
import { decode, encode } from "./utf8.ts";

/** Bytes asked for at once. */
const PIECE = 64 << 10;
/** The most that {@link Response.text} and {@link Response.json} read, bytes. */
const WHOLE = 8 << 20;
/** How much of an error's body is quoted, characters. */
const EXCERPT = 300;

/** What a request says beside its method and target. */
export interface Options {
  readonly headers?: Readonly<Record<string, string>>;
  /** Parameters, added to the path's query, encoded. */
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  readonly body?: Uint8Array | string;
  /** A body of JSON, with its content type. */
  readonly json?: unknown;
  /** The longest wait for the response's head, ms. Without it: the call's remaining time. */
  readonly timeoutMs?: number;
}

/** A request failed. If `sent` is false, no byte of it reached the server and trying again is safe. */
export class HttpError extends HostError {
  constructor(error: HostError, readonly sent: boolean) {
    super(error.kind, error.message);
  }
}

/** Any method, to a path under an endpoint of the manifest. The kernel adds the credentials. */
export function request(method: string, endpoint: string, path: string, options: Options = {}): Response {
  return send(method, { tag: "endpoint", val: [endpoint, path + query(path, options)] }, `${endpoint}:${path}`, options);
}
/** GET under an endpoint. */
export function get(endpoint: string, path: string, options?: Options): Response {
  return request("GET", endpoint, path, options);
}
/** POST under an endpoint. */
export function post(endpoint: string, path: string, options?: Options): Response {
  return request("POST", endpoint, path, options);
}
/** GET of any public address, without credentials. Needs the permission `http = "public"`. */
export function publicly(url: string, options: Options = {}): Response {
  return send("GET", { tag: "public", val: url + query(url, options) }, url, options);
}
/** GET of a link that a `capture` rule replaced. */
export function captured(handle: string, options: Options = {}): Response {
  return send("GET", { tag: "handle", val: handle }, "a captured link", options);
}

function query(address: string, { query }: Options): string {
  const pairs = Object.entries(query ?? {}).map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(v)}`);
  return pairs.length === 0 ? "" : (address.includes("?") ? "&" : "?") + pairs.join("&");
}

function send(method: string, target: Target, what: string, options: Options): Response {
  const headers = Object.entries(options.headers ?? {});
  let body = options.body;
  if (options.json !== undefined) {
    headers.push(["content-type", "application/json"]);
    body = JSON.stringify(options.json);
  }
  const bytes = typeof body === "string" ? encode(body) : body;
  try {
    const response = host.send({
      method,
      target,
      headers,
      body: bytes === undefined ? { tag: "none" } : { tag: "bytes", val: bytes },
      timeoutMs: options.timeoutMs ?? null,
      extra: [],
    });
    return new Response(response, `${method} ${what}`);
  } catch (thrown) {
    throw failure(thrown) ?? thrown;
  }
}

function failure(thrown: unknown): HttpError | undefined {
  const failed = payload(thrown);
  if (typeof failed !== "object" || failed === null || !("error" in failed) || !("sent" in failed)) return undefined;
  const error = of(failed.error);
  return error && new HttpError(error, failed.sent === true);
}

/** A response. The body is read as it arrives; what is not read is thrown away. */
export class Response {
  readonly #host: WitResponse;
  readonly #what: string;
  /** @internal */
  constructor(response: WitResponse, what: string) {
    this.#host = response;
    this.#what = what;
  }
  /** E.g. 200. */
  get status(): number {
    return this.#host.status();
  }
  /** The status is 200 to 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }
  /** All headers, in order. */
  get headers(): [string, string][] {
    return this.#host.headers();
  }
  /** The first header of a name, whatever its case. */
  header(name: string): string | undefined {
    return this.headers.find(([n]) => n.toLowerCase() === name.toLowerCase())?.[1];
  }
  /** Where it came from, after redirects; without query or credentials. */
  get url(): string {
    return this.#host.url();
  }
  /** Itself, if the status is 200 to 299; else throws `not-found`, `unavailable` (try again) or `invalid`, with the beginning of the body. */
  success(): this {
    const status = this.status;
    if (status >= 200 && status < 300) return this;
    const excerpt = [...text(this.read(PIECE)).trim()].slice(0, EXCERPT).join("") || "(no text)";
    const kind =
      status === 404 || status === 410
        ? "not-found"
        : status === 408 || status === 429 || status >= 500
          ? "unavailable"
          : "invalid";
    throw new HttpError(new HostError(kind, `${this.#what} answered ${status}: ${excerpt}`), true);
  }
  /** The next bytes, at most `max` (1 MiB); none is the end. */
  read(max: number): Uint8Array {
    try {
      return Uint8Array.from(this.#host.read(max));
    } catch (thrown) {
      const error = of(payload(thrown));
      throw error ? new HttpError(error, true) : thrown;
    }
  }
  /** The whole body, at most `max` bytes. */
  bytes(max = WHOLE): Uint8Array {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for (let piece = this.read(PIECE); piece.length > 0; piece = this.read(PIECE)) {
      length += piece.length;
      if (length > max) {
        throw new HttpError(new HostError("limit", `${this.#what} answered with more than ${max} bytes`), true);
      }
      pieces.push(piece);
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
  /** The whole body as text, at most 8 MiB. */
  text(): string {
    return text(this.bytes());
  }
  /** The whole body read as JSON, at most 8 MiB. What it is, the caller must check. */
  json(): unknown {
    const body = this.text();
    try {
      return JSON.parse(body) as unknown;
    } catch {
      const excerpt = [...body.trim()].slice(0, EXCERPT).join("");
      throw new HttpError(new HostError("unavailable", `${this.#what} answered what is no JSON: ${excerpt}`), true);
    }
  }
}

function text(bytes: Uint8Array): string {
  return decode(bytes);
}
