import host from "carapace:plugin/clock";
import { guarded } from "./error.ts";

/** The longest that the engine takes as one number, ms. */
const LONGEST = 0x7fff_ffff;

/** Milliseconds since the Unix epoch. */
export function nowMs(): number {
  return host.nowMs();
}
/** Milliseconds since an arbitrary point; never goes back. */
export function monotonicMs(): number {
  return host.monotonicMs();
}
/** Waits. Counts against the call's wall time, not its processor time. */
export function sleep(ms: number): void {
  guarded(() => host.sleepMs(Math.min(Math.max(Math.ceil(ms), 0), LONGEST)));
}
