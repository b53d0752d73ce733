/**
 * UTF-8; the engine has no encoder of its own. What cannot be encoded or decoded becomes U+FFFD.
 *
 * What it has is base64 and the escapes of addresses, in its own code: by way of them, texts are some ten times as fast as byte by byte.
 */

interface Native {
  fromBase64?(text: string): Uint8Array;
  readonly prototype: { toBase64?(): string };
}
const native = Uint8Array as unknown as Native;

/** As UTF-8. */
export function encode(text: string): Uint8Array {
  if (native.fromBase64 !== undefined) {
    try {
      return native.fromBase64(btoa(unescape(encodeURIComponent(text))));
    } catch {
      // Half a character.
    }
  }
  return slowly(text);
}

function slowly(text: string): Uint8Array {
  const out: number[] = [];
  for (const character of text) {
    let point = character.codePointAt(0) ?? 0;
    if (point >= 0xd800 && point <= 0xdfff) point = 0xfffd;
    if (point < 0x80) out.push(point);
    else if (point < 0x800) out.push(0xc0 | (point >> 6), 0x80 | (point & 63));
    else if (point < 0x1_0000) out.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
    else out.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 63), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
  }
  return Uint8Array.from(out);
}

/** The first byte's bits, how many more there are, and the least that so many bytes may say. */
function lead(byte: number): [bits: number, more: number, least: number] | undefined {
  if (byte >= 0xc2 && byte < 0xe0) return [byte & 31, 1, 0x80];
  if (byte >= 0xe0 && byte < 0xf0) return [byte & 15, 2, 0x800];
  if (byte >= 0xf0 && byte < 0xf5) return [byte & 7, 3, 0x1_0000];
  return undefined;
}

/** From UTF-8. */
export function decode(bytes: ArrayLike<number>): string {
  if (native.prototype.toBase64 !== undefined) {
    const whole = (bytes instanceof Uint8Array ? bytes : Uint8Array.from(bytes)) as Uint8Array & { toBase64(): string };
    try {
      return decodeURIComponent(escape(atob(whole.toBase64())));
    } catch {
      // Not UTF-8 throughout.
    }
  }
  const pieces: string[] = [];
  let points: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at++] ?? 0;
    const head = byte < 0x80 ? undefined : lead(byte);
    let point = byte;
    if (byte >= 0x80) {
      let [bits, more, least] = head ?? [0, 0, Infinity];
      while (more > 0 && ((bytes[at] ?? 0) & 0xc0) === 0x80) {
        bits = (bits << 6) | ((bytes[at++] ?? 0) & 63);
        more -= 1;
      }
      const surrogate = bits >= 0xd800 && bits <= 0xdfff;
      point = more > 0 || bits < least || bits > 0x10_ffff || surrogate ? 0xfffd : bits;
    }
    points.push(point);
    if (points.length === 4096) {
      pieces.push(String.fromCodePoint(...points));
      points = [];
    }
  }
  pieces.push(String.fromCodePoint(...points));
  return pieces.join("");
}
