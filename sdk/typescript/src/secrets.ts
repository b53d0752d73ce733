import host from "carapace:plugin/secrets";
import { guarded } from "./error.ts";
import { encode } from "./utf8.ts";

/** Whether the owner has set the secret. Its value is nobody's but the kernel's. */
export function exists(name: string): boolean {
  return guarded(() => host.exists(name));
}
/** HMAC-SHA256 with a secret that the manifest declares with `hmac = true`; 32 bytes. */
export function hmacSha256(name: string, data: Uint8Array | string): Uint8Array {
  const bytes = typeof data === "string" ? encode(data) : data;
  return Uint8Array.from(guarded(() => host.hmacSha256(name, bytes)));
}
