import host from "carapace:plugin/random";
import { guarded } from "./error.ts";

/** Random bytes of the operating system, at most 64 KiB a call. */
export function bytes(length: number): Uint8Array {
  return Uint8Array.from(guarded(() => host.bytes(length)));
}

/** A whole number below `bound` (1 to 2³²), each as likely as any other. */
export function below(bound: number): number {
  if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 32) throw new RangeError(`no whole number below ${bound}`);
  const whole = Math.floor(2 ** 32 / bound) * bound;
  for (;;) {
    const drawn = new DataView(bytes(4).buffer).getUint32(0);
    if (drawn < whole) return drawn % bound;
  }
}
