// What a component finds beside the language itself (globals.ts).
declare const console: Record<"log" | "info" | "debug" | "trace" | "warn" | "error", (...values: unknown[]) => void>;
declare const crypto: { getRandomValues<T extends ArrayBufferView>(into: T): T; randomUUID(): string };
declare const performance: { now(): number };
declare class TextEncoder {
  readonly encoding: "utf-8";
  encode(text?: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label?: "utf-8" | "utf8");
  readonly encoding: "utf-8";
  decode(bytes?: ArrayBuffer | ArrayBufferView): string;
}
declare function atob(text: string): string;
declare function btoa(text: string): string;
declare function queueMicrotask(task: () => void): void;
