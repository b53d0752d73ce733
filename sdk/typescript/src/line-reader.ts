import { HostError } from "./error.ts";
import { HttpError } from "./http.ts";
import { decode } from "./utf8.ts";

/** Longest line, bytes. */
export const MAX = 8 << 20;
const [LF, CR] = [10, 13];

/** Reads lines from bytes that are cut anywhere; they end with LF, or with CR and CRLF as well. */
export class Lines {
  readonly #carriage: boolean;
  #pieces: Uint8Array[] = [];
  #length = 0;
  // A CR ended the last line: an LF right after it belongs to it.
  #afterCr = false;
  constructor(carriage: boolean) {
    this.#carriage = carriage;
  }
  /** Takes bytes; gives the lines they complete, without their ends. */
  push(bytes: Uint8Array): string[] {
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      if (this.#afterCr) {
        this.#afterCr = false;
        if (bytes[at] === LF) {
          at += 1;
          continue;
        }
      }
      const lf = bytes.indexOf(LF, at);
      const line = bytes.subarray(at, lf < 0 ? bytes.length : lf);
      const cr = this.#carriage ? line.indexOf(CR) : -1;
      const end = cr < 0 ? lf : at + cr;
      const piece = cr < 0 ? line : line.subarray(0, cr);
      this.#length += piece.length;
      if (this.#length > MAX) throw tooLong("a line");
      this.#pieces.push(piece);
      if (end < 0) break;
      this.#afterCr = cr >= 0;
      lines.push(this.#take());
      at = end + 1;
    }
    return lines;
  }
  /** The stream ended: what there is of a last line. */
  finish(): string | undefined {
    return this.#length === 0 ? undefined : this.#take();
  }
  #take(): string {
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    [this.#pieces, this.#length] = [[], 0];
    return decode(bytes);
  }
}

/** More than a reader takes. */
export function tooLong(what: string): HttpError {
  return new HttpError(new HostError("unavailable", `the server sent ${what} of more than 8 MiB`), "answered");
}
