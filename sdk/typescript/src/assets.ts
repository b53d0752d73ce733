import host, { type Info } from "carapace:plugin/assets";
import { guarded } from "./error.ts";

export type { Info };

/** What is known about a file of the package. `not-found` if the owner's machine does not have it yet. */
export function describe(name: string): Info {
  return guarded(() => host.describe(name));
}
/** At most `max` bytes (1 MiB) from `offset`; none is the end. */
export function read(name: string, offset: number, max: number): Uint8Array {
  return Uint8Array.from(guarded(() => host.read(name, offset, max)));
}
