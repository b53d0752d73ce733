/**
 * The contract's values as the host of a component writes them: JSON with names in snake_case, a variant's case as its only key, bytes
 * as numbers. Here they are what they are in a component.
 */

/** Fields that hold bytes. */
const BYTES = new Set(["state", "data", "body", "bytes"]);
/** Fields that hold a case of an enum, by its name alone. */
const ENUMS = new Set(["kind", "scope", "textUnit", "role"]);
/** Fields that hold a variant whose case may have no value. */
const VARIANTS = new Set(["link", "body", "effects", "toolChoice", "stop"]);

/** For the host. */
export function toHost(value: unknown, field = ""): unknown {
  if (typeof value === "string") return ENUMS.has(field) ? pascal(value) : value;
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map((v) => toHost(v, field));
  if (typeof value !== "object" || value === null) return value;
  if ("tag" in value && typeof value.tag === "string") {
    const name = pascal(value.tag);
    return "val" in value ? { [name]: toHost(value.val, value.tag) } : name;
  }
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [snake(k), toHost(v, k)]));
}

/** From the host. */
export function fromHost(value: unknown, field = ""): unknown {
  if (typeof value === "string") {
    if (ENUMS.has(field)) return kebab(value);
    return VARIANTS.has(field) ? { tag: kebab(value) } : value;
  }
  if (Array.isArray(value)) {
    return BYTES.has(field) ? Uint8Array.from(value as number[]) : value.map((v) => fromHost(v, field));
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [only] = entries;
  if (only !== undefined && entries.length === 1 && /^[A-Z]/.test(only[0])) {
    const tag = kebab(only[0]);
    return { tag, val: fromHost(only[1], tag) };
  }
  return Object.fromEntries(entries.map(([k, v]) => [camel(k), fromHost(v, camel(k))]));
}

/** `NotFound` → `not-found` */
export function kebab(word: string): string {
  return word.replace(/(?<!^)[A-Z]/g, (c) => `-${c}`).toLowerCase();
}
const pascal = (word: string): string => word.replace(/(?:^|-)([a-z])/g, (_, c: string) => c.toUpperCase());
const snake = (word: string): string => word.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
const camel = (word: string): string => word.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());
