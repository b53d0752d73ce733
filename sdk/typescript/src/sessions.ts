import host, { type Entry, type Session } from "carapace:plugin/sessions";
import { guarded } from "./error.ts";

export type { Entry, Session };

/** Newest first, at most 100. */
export function list(limit = 100): Session[] {
  return guarded(() => host.list(limit));
}
/** The last messages of a conversation, oldest first, at most 200. */
export function read(session: string, limit = 200): Entry[] {
  return guarded(() => host.read(session, limit));
}
