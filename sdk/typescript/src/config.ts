import host from "carapace:plugin/config";

/** The instance's own section of the owner's configuration; `{}` without one. Holds no secret. */
export function get(): Record<string, unknown> {
  return JSON.parse(host.get()) as Record<string, unknown>;
}
