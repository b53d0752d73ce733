import host, { type Request as Prepared, type Response as WitResponse, type Target } from "carapace:plugin/http";
import * as clock from "./clock.ts";
import { HostError, of, payload } from "./error.ts";
import { decode, encode } from "./utf8.ts";

/** Bytes asked for at once. */
const PIECE = 64 << 10;
/** The most that {@link Response.text} and {@link Response.json} read, bytes. */
const WHOLE = 8 << 20;
/** How much of an error's body is quoted, characters. */
const EXCERPT = 300;

export type { Prepared };

/** A field of a form. */
export type Field =
  | { readonly name: string; readonly text: string }
  | { readonly name: string; readonly blob: string; readonly fileName: string; readonly mime: string };

/** What a request says beside its method and target. */
export interface Options {
  readonly headers?: Readonly<Record<string, string>>;
  /** Parameters, added to the path's query, encoded. */
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  readonly body?: Uint8Array | string;
  /** A body of JSON, with its content type. */
  readonly json?: unknown;
  /** A form of texts and files (`multipart/form-data`), with its content type. Files are blobs, which never pass through here. */
  readonly form?: readonly Field[];
  /** The longest wait for the response's head, ms. Without it: the call's remaining time. */
  readonly timeoutMs?: number;
}

/**
 * How far a request had come: nothing of it left; a byte of it may have reached the server, which gave no answer or refused; the answer
 * had begun, and its body broke off; the answer is there, and is not what it should be.
 */
export type Stage = "before" | "sent" | "reading" | "answered";

/** A request failed. */
export class HttpError extends HostError {
  constructor(error: HostError, readonly stage: Stage) {
    super(error.kind, error.message);
  }
  /** If it is false, no byte of the request reached the server and trying again is safe. */
  get sent(): boolean {
    return this.stage !== "before";
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

/** A request that is not sent now: a channel hands it to the kernel. */
export function prepared(method: string, endpoint: string, path: string, options: Options = {}): Prepared {
  return made(method, { tag: "endpoint", val: [endpoint, path + query(path, options)] }, options);
}

function query(address: string, { query }: Options): string {
  const pairs = Object.entries(query ?? {}).map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(v)}`);
  return pairs.length === 0 ? "" : (address.includes("?") ? "&" : "?") + pairs.join("&");
}

function made(method: string, target: Target, options: Options): Prepared {
  const headers = Object.entries(options.headers ?? {});
  let body = options.body;
  if (options.json !== undefined) {
    headers.push(["content-type", "application/json"]);
    body = JSON.stringify(options.json);
  }
  let bytes = typeof body === "string" ? encode(body) : body;
  let extra: [string, string][] = [];
  if (options.form !== undefined) {
    const form = formed(options.form);
    headers.push(["content-type", form.type]);
    ({ bytes, extra } = form);
  }
  return {
    method,
    target,
    headers,
    body: bytes === undefined ? { tag: "none" } : { tag: "bytes", val: bytes },
    timeoutMs: options.timeoutMs ?? null,
    extra,
  };
}

/** RFC 7578. The kernel puts the blobs into their places. */
function formed(fields: readonly Field[]): { type: string; bytes: Uint8Array; extra: [string, string][] } {
  // In no text, and in no file: none holds a part of its own SHA-256 by chance.
  const ids = fields.flatMap((f) => ("blob" in f ? [f.blob.slice(0, 12)] : []));
  let boundary = `form-${ids.slice(0, 4).join("")}`;
  while (fields.some((f) => "text" in f && f.text.includes(boundary))) boundary += "x";
  const quoted = (name: string) => name.replaceAll('"', "%22").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
  const pieces: Uint8Array[] = [];
  const extra: [string, string][] = [];
  let length = 0;
  const put = (text: string): void => {
    const piece = encode(text);
    pieces.push(piece);
    length += piece.length;
  };
  for (const field of fields) {
    put(`--${boundary}\r\ncontent-disposition: form-data; name="${quoted(field.name)}"`);
    if ("text" in field) {
      put(`\r\n\r\n${field.text}\r\n`);
    } else {
      put(`; filename="${quoted(field.fileName)}"\r\ncontent-type: ${field.mime.replace(/[\x00-\x1f]/g, "")}\r\n\r\n`);
      extra.push(["blob", `${length} ${field.blob}`]);
      put("\r\n");
    }
  }
  put(`--${boundary}--\r\n`);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return { type: `multipart/form-data; boundary=${boundary}`, bytes, extra };
}

function send(method: string, target: Target, what: string, options: Options): Response {
  try {
    return new Response(host.send(made(method, target, options)), `${method} ${what}`);
  } catch (thrown) {
    throw failure(thrown) ?? thrown;
  }
}

function failure(thrown: unknown): HttpError | undefined {
  const failed = payload(thrown);
  if (typeof failed !== "object" || failed === null || !("error" in failed) || !("sent" in failed)) return undefined;
  const error = of(failed.error);
  return error && new HttpError(error, failed.sent === true ? "sent" : "before");
}

/** The first header of a name, whatever its case. */
export function header(headers: readonly (readonly [string, string])[], name: string): string | undefined {
  return headers.find(([n]) => n.toLowerCase() === name.toLowerCase())?.[1];
}
/** How long `Retry-After` says to wait, ms: its seconds, or until its date. */
export function retryAfterMs(headers: readonly (readonly [string, string])[]): number | null {
  const value = header(headers, "retry-after")?.trim() ?? "";
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - clock.nowMs());
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
    return header(this.headers, name);
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
    throw new HttpError(new HostError(kind, `${this.#what} answered ${status}: ${excerpt}`), "sent");
  }
  /** The next bytes, at most `max` (1 MiB); none is the end. */
  read(max: number): Uint8Array {
    try {
      return Uint8Array.from(this.#host.read(max));
    } catch (thrown) {
      const error = of(payload(thrown));
      throw error ? new HttpError(error, "reading") : thrown;
    }
  }
  /** The body as it arrives. */
  *chunks(): Generator<Uint8Array> {
    for (let piece = this.read(PIECE); piece.length > 0; piece = this.read(PIECE)) yield piece;
  }
  /** The whole body, at most `max` bytes. */
  bytes(max = WHOLE): Uint8Array {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for (const piece of this.chunks()) {
      length += piece.length;
      if (length > max) {
        throw new HttpError(new HostError("limit", `${this.#what} answered with more than ${max} bytes`), "answered");
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
  /** Keeps what was not read yet as a blob, without handing it out; its id. Needs `[blob]`. `limit` if it is longer than `max` bytes. */
  toBlob(max: number): string {
    try {
      return this.#host.toBlob(max);
    } catch (thrown) {
      const error = of(payload(thrown));
      throw error ? new HttpError(error, "reading") : thrown;
    }
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
      throw new HttpError(new HostError("unavailable", `${this.#what} answered what is no JSON: ${excerpt}`), "answered");
    }
  }
}

function text(bytes: Uint8Array): string {
  return decode(bytes);
}
