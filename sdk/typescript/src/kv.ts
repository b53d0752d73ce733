import host, { type Entry } from "carapace:plugin/kv";
import { guarded } from "./error.ts";
import { decode, encode } from "./utf8.ts";

export type { Entry };

const bytes = (value: Uint8Array | string): Uint8Array => (typeof value === "string" ? encode(value) : value);

/** The value of a key with its version, or null. Keys: 1 to 512 bytes. */
export function entry(key: string): Entry | null {
  return guarded(() => host.get(key));
}
/** The value of a key, as text. */
export function get(key: string): string | null {
  const found = entry(key);
  return found === null ? null : decode(found.value);
}
/** The value of a key, read as JSON. */
export function getJson(key: string): unknown {
  const text = get(key);
  return text === null ? null : (JSON.parse(text) as unknown);
}
/** Stores a value of at most 1 MiB, for ever or for `ttlMs`. Gives its version. */
export function set(key: string, value: Uint8Array | string, ttlMs: number | null = null): number {
  return guarded(() => host.set(key, bytes(value), ttlMs));
}
/** Stores a value as JSON. Gives its version. */
export function setJson(key: string, value: unknown, ttlMs: number | null = null): number {
  return set(key, JSON.stringify(value), ttlMs);
}
/** Removes a key; says whether it was there. */
export function remove(key: string): boolean {
  return guarded(() => host.delete(key));
}
/** At most 1,000 keys with a prefix, after the key `after`, in byte order. */
export function keys(prefix = "", after: string | null = null, limit = 1000): string[] {
  return guarded(() => host.keys(prefix, after, limit));
}
/** Writes only if the stored version is `expected` (null: the key does not exist); says whether it did. */
export function swap(
  key: string,
  expected: number | null,
  value: Uint8Array | string,
  ttlMs: number | null = null,
): boolean {
  return guarded(() => host.swap(key, expected, bytes(value), ttlMs));
}
