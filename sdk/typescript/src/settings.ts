import host from "carapace:plugin/settings";
import { guarded } from "./error.ts";

/** The owner's configuration at a dotted path (empty: all); undefined if nothing stands there. */
export function read(path = ""): unknown {
  const text = guarded(() => host.read(path));
  return text === null ? undefined : (JSON.parse(text) as unknown);
}
