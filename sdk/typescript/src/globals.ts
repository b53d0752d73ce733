/// <reference path="./contract.d.ts" />
/// <reference path="./lib.d.ts" />
/**
 * What JavaScript has by itself, from the kernel's imports. Without this a component would stand still at the moment it was built:
 * the same time and the same chance in every call.
 */
import * as clock from "./clock.ts";
import * as log from "./log.ts";
import * as random from "./random.ts";
import * as utf8 from "./utf8.ts";

const Built = Date;

/** `Date` as the language has it; now is the kernel's. */
const Now = function (this: unknown, ...args: unknown[]): string | Date {
  if (new.target === undefined) return new Built(clock.nowMs()).toString();
  const given = args.length === 0 ? [clock.nowMs()] : args;
  return Reflect.construct(Built, given, new.target) as Date;
} as unknown as DateConstructor;
Object.setPrototypeOf(Now, Built);
Object.defineProperty(Now, "prototype", { value: Built.prototype });
Object.defineProperty(Now, "now", { value: () => clock.nowMs(), writable: true, configurable: true });
Object.defineProperty(Built.prototype, "constructor", { value: Now, writable: true, configurable: true });

/** 53 bits, as the language's own. */
function chance(): number {
  const drawn = new DataView(random.bytes(8).buffer);
  return (drawn.getUint32(0) * 2 ** 21 + (drawn.getUint32(4) >>> 11)) / 2 ** 53;
}

const shown = (values: unknown[]): string =>
  values
    .map((v) => (typeof v === "string" ? v : v instanceof Error ? `${v.name}: ${v.message}` : (JSON.stringify(v) ?? String(v))))
    .join(" ");

const at =
  (level: log.Level) =>
  (...values: unknown[]): void =>
    log.write(level, shown(values));

class Encoder {
  readonly encoding = "utf-8";
  encode(text = ""): Uint8Array {
    return utf8.encode(text);
  }
}

class Decoder {
  readonly encoding = "utf-8";
  constructor(label = "utf-8") {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`there is no decoder for ${label}`);
  }
  decode(bytes: ArrayBuffer | ArrayBufferView = new Uint8Array()): string {
    const whole = ArrayBuffer.isView(bytes) ? bytes : new Uint8Array(bytes);
    return utf8.decode(new Uint8Array(whole.buffer, whole.byteOffset, whole.byteLength));
  }
}

const dice = {
  getRandomValues<T extends ArrayBufferView>(into: T): T {
    const view = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
    view.set(random.bytes(view.length));
    return into;
  },
  randomUUID(): string {
    const bytes = random.bytes(16);
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  },
};

Math.random = chance;
Object.assign(globalThis, {
  Date: Now,
  crypto: dice,
  performance: { now: () => clock.monotonicMs() },
  TextEncoder: Encoder,
  TextDecoder: Decoder,
  console: { log: at("info"), info: at("info"), debug: at("debug"), trace: at("trace"), warn: at("warn"), error: at("error") },
});
