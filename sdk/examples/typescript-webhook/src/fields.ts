/** Where in a request the parts of a message stand: the same configuration as the one in Rust has. */
import { text, type WebhookRequest } from "carapace-sdk/channel";

/** Each is a JSON pointer into the body (`/user/id`), `header:NAME`, `query:NAME`, or `=TEXT` for the same text always. */
const FIELDS = {
  text: "/text",
  sender: "/from",
  /** What the sender is called; else its id. */
  name: "/name",
  /** Where answers belong; else the sender. */
  conversation: "/conversation",
  thread: "/thread",
  /** The same key is the same message; else the header `webhook-id`. */
  key: "/id",
};
/** How long a receiver remembers a `webhook-id`, if the owner does not say, s. */
const DEDUPE = 300;

export type Fields = typeof FIELDS;

/** The instance's section of the configuration. */
export interface Config {
  readonly fields: Fields;
  /** For so long the receiver of answers drops a second one with the same `webhook-id`; 0 = it does not. */
  readonly dedupeSeconds: number;
}

export const DEFAULT: Config = { fields: FIELDS, dedupeSeconds: DEDUPE };

/** The section as it must be; throws what is wrong with it. */
export function configured(section: Record<string, unknown>): Config {
  const { fields = {}, dedupeSeconds = DEDUPE, ...more } = section;
  unknown("config", more, ["fields", "dedupeSeconds"]);
  if (!Number.isInteger(dedupeSeconds) || (dedupeSeconds as number) < 0) {
    throw new Error("config.dedupeSeconds: not a whole number of seconds");
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) throw new Error("config.fields: not an object");
  const names = Object.keys(FIELDS);
  unknown("config.fields", Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name))), names);
  const all = { ...FIELDS, ...(fields as Partial<Fields>) };
  for (const [name, source] of Object.entries(all)) {
    if (typeof source !== "string" || !["/", "=", "header:", "query:"].some((p) => source.startsWith(p))) {
      throw new Error(
        `config.fields.${name}: \`${source}\` is no place in a request; write a JSON pointer such as "/${source}", "header:NAME", "query:NAME", or "=TEXT"`,
      );
    }
  }
  return { fields: all, dedupeSeconds: dedupeSeconds as number };
}

function unknown(where: string, more: object, known: string[]): void {
  const [first] = Object.keys(more);
  if (first !== undefined) throw new Error(`${where}: unknown field \`${first}\`, expected ${known.map((k) => `\`${k}\``).join(", ")}`);
}

/** What stands there, as text; nothing if it is empty. */
export function find(source: string, request: WebhookRequest, body: unknown): string | undefined {
  const found = source.startsWith("=")
    ? source.slice(1)
    : source.startsWith("header:")
      ? header(request, source.slice("header:".length))
      : source.startsWith("query:")
        ? query(request, source.slice("query:".length))
        : pointed(body, source);
  return found === undefined || found.trim() === "" ? undefined : found;
}

function header(request: WebhookRequest, name: string): string | undefined {
  return request.headers.find(([n]) => n.toLowerCase() === name.toLowerCase())?.[1];
}

function query(request: WebhookRequest, name: string): string | undefined {
  const pair = request.query.split("&").find((p) => p.startsWith(`${name}=`));
  return pair === undefined ? undefined : decoded(pair.slice(name.length + 1));
}

/** A JSON pointer (RFC 6901). */
function pointed(body: unknown, pointer: string): string | undefined {
  let at = body;
  for (const token of pointer.split("/").slice(1)) {
    const name = token.replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(at)) at = /^(0|[1-9]\d*)$/.test(name) ? (at[Number(name)] as unknown) : undefined;
    else if (typeof at === "object" && at !== null && Object.hasOwn(at, name)) at = (at as Record<string, unknown>)[name];
    else return undefined;
  }
  return typeof at === "string" ? at : typeof at === "number" ? String(at) : undefined;
}

/** A value of a query, decoded; what is not UTF-8 becomes `�`. */
function decoded(value: string): string {
  const bytes: number[] = [];
  const plain = new TextEncoder().encode(value);
  for (let i = 0; i < plain.length; i++) {
    const hex = /^%([0-9a-fA-F]{2})$/.exec(String.fromCharCode(...plain.slice(i, i + 3)));
    if (hex !== null) {
      bytes.push(parseInt(hex[1] ?? "", 16));
      i += 2;
    } else {
      const byte = plain[i] ?? 0;
      bytes.push(byte === 0x2b ? 0x20 : byte);
    }
  }
  return text(bytes);
}
