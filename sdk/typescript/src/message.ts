import host from "carapace:plugin/message";
import { guarded } from "./error.ts";

/**
 * Says something elsewhere: a text (Markdown, 1 byte to 64 KiB) to `owner`, or to a target of the owner's configuration. It is durable when
 * this returns. Gives what was put on its way, for a person.
 */
export function send(target: string, text: string): string {
  return guarded(() => host.send(target, text));
}
