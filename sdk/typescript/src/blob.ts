import host, { type Info } from "carapace:plugin/blob";
import { guarded } from "./error.ts";

export type { Info };

/** Keeps up to 8 MiB; the id is the SHA-256 of the bytes, lower-case hex. */
export function put(data: Uint8Array): string {
  return guarded(() => host.put(data));
}
/** Of what this instance brought or was given; anything else is `not-found`. */
export function describe(id: string): Info {
  return guarded(() => host.describe(id));
}
/** At most `max` bytes (1 MiB) from `offset`; none is the end. */
export function read(id: string, offset: number, max: number): Uint8Array {
  return Uint8Array.from(guarded(() => host.read(id, offset, max)));
}
