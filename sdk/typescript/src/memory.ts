import host, { type Note } from "carapace:plugin/memory";
import { guarded } from "./error.ts";

export type { Note };

/** The note under a key, or null. */
export function read(key: string): Note | null {
  return guarded(() => host.read(key));
}
/** Writes a note of at most 64 KiB, in place of the one under that key. */
export function write(key: string, text: string): void {
  guarded(() => host.write(key, text));
}
/** Removes a note; says whether it was there. */
export function remove(key: string): boolean {
  return guarded(() => host.delete(key));
}
/** Newest first, at most 1,000. */
export function list(limit = 1000): Note[] {
  return guarded(() => host.list(limit));
}
/** Notes that hold any of the words, best match first, at most 100. */
export function search(query: string, limit = 100): Note[] {
  return guarded(() => host.search(query, limit));
}
