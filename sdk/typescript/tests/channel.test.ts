import assert from "node:assert/strict";
import { test } from "node:test";
import { pieces, text, type TextUnit } from "../src/channel.ts";
import { encode } from "../src/utf8.ts";

test("a line is cut before a word and a word before a letter", () => {
  assert.deepEqual(pieces("one\ntwo three", 9, "bytes"), ["one\n", "two three"]);
  assert.deepEqual(pieces("two three", 6, "bytes"), ["two ", "three"]);
  assert.deepEqual(pieces("three", 2, "bytes"), ["th", "re", "e"]);
  assert.deepEqual(pieces("", 9, "bytes"), []);
});

test("a limit counts in the platform's unit", () => {
  assert.deepEqual(pieces("üüü", 2, "scalars"), ["üü", "ü"]);
  assert.deepEqual(pieces("üüü", 3, "bytes"), ["ü", "ü", "ü"]);
  assert.deepEqual(pieces("👋👋", 3, "utf16"), ["👋", "👋"]);
  assert.deepEqual(pieces("👋👋", 1, "bytes"), ["👋", "👋"]);
});

test("nothing is lost and nothing is too long, whatever the text", () => {
  const alphabet = ["a", "b", " ", "\n", "ü", "ß", "日", "👋"];
  const length: Record<TextUnit, (text: string) => number> = {
    bytes: (t) => Buffer.byteLength(t),
    utf16: (t) => t.length,
    scalars: (t) => [...t].length,
  };
  let seed = 1;
  const below = (n: number): number => (seed = (seed * 48_271) % 0x7fff_ffff) % n;
  for (let round = 0; round < 2_000; round++) {
    const whole = Array.from({ length: below(40) }, () => alphabet[below(alphabet.length)]).join("");
    const [limit, unit] = [4 + below(8), (["bytes", "utf16", "scalars"] as const)[below(3)] ?? "bytes"];
    const cut = pieces(whole, limit, unit);
    assert.equal(cut.join(""), whole);
    assert.ok(cut.every((piece) => piece !== "" && length[unit](piece) <= limit), JSON.stringify([cut, limit, unit]));
  }
});

test("text is UTF-8 as Node has it, and what is none becomes U+FFFD", () => {
  for (const sample of ["", "grün 日本 👋", "\u0000\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}"]) {
    assert.deepEqual(Buffer.from(encode(sample)), Buffer.from(sample));
    assert.equal(text(Buffer.from(sample)), sample);
  }
  assert.equal(text([0x61, 0xff, 0x62]), "a\ufffdb");
});
