import host from "carapace:plugin/lines";
import { guarded } from "./error.ts";

/**
 * Writes to a program on this computer that is attached under this name, and returns when one of them has said that it has it; for channels with
 * `[lines]`. What they write comes as the event `line`. `key` is the same each time this is written: a program shows it once. At most 256 KiB.
 */
export function write(client: string, key: string, text: string): void {
  guarded(() => host.write(client, key, text));
}
