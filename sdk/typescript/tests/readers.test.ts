import assert from "node:assert/strict";
import { test } from "node:test";
import { Response } from "../src/http.ts";
import { values } from "../src/ndjson.ts";
import { events } from "../src/sse.ts";

/** A response whose body comes in these pieces. */
function response(...pieces: Uint8Array[]): Response {
  const left = pieces.filter((piece) => piece.length > 0);
  const host = { status: () => 200, headers: () => [], url: () => "", read: () => left.shift() ?? new Uint8Array() };
  return new Response(host, "GET api:/");
}
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const sse = (text: string) => [...events(response(bytes(text)))];
const message = (data: string) => ({ name: "message", data });

test("lines of events end with LF, CR or both", () => {
  for (const end of ["\n", "\r", "\r\n"]) {
    const text = ["data: a", "data: b", "", "data: c", "", ""].join(end);
    assert.deepEqual(sse(text), [message("a\nb"), message("c")], JSON.stringify(end));
  }
});

test("the examples of the specification read as it says", () => {
  // https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
  assert.deepEqual(sse("data: YHOO\ndata: +2\ndata: 10\n\n"), [message("YHOO\n+2\n10")]);
  const stream = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
  assert.deepEqual(sse(stream), [message("first event"), message("second event"), message(" third event")]);
  assert.deepEqual(sse("data\n\ndata\ndata\n\ndata:"), [message(""), message("\n"), message("")]);
});

test("a byte order mark, comments and unknown fields are skipped, and an end without a blank line counts", () => {
  const text = "\ufeffevent: error\nretry: 5\n: hi\nfoo: bar\ndata: x\n\nevent: lost\n\ndata: [DONE]";
  assert.deepEqual(sse(text), [{ name: "error", data: "x" }, message("[DONE]")]);
});

test("a stream that is cut at every byte reads the same", () => {
  for (const [read, text] of [
    [events, "\ufeffevent: a\r\ndata: grün 日本\r\n\r\ndata: x\rdata: y\r\r: c\n\ndata: [DONE]"],
    [values, '\ufeff{"t":"grün 日本"}\r\n\r\n{"t":"👋"}\n[1]'],
  ] as const) {
    const all = bytes(text);
    const whole = [...read(response(all))];
    assert.equal(whole.length, 3);
    for (let cut = 0; cut <= all.length; cut++) {
      assert.deepEqual([...read(response(all.slice(0, cut), all.slice(cut)))], whole, `cut at ${cut}`);
    }
    assert.deepEqual([...read(response(...[...all].map((byte) => Uint8Array.of(byte))))], whole);
  }
});

test("what has no end is refused before it fills the memory, and what is no JSON is told", () => {
  const piece = new Uint8Array(1 << 20).fill(0x78);
  const endless = () => response(...Array.from({ length: 9 }, () => piece));
  for (const read of [events, values]) {
    assert.throws(() => [...read(endless())], { kind: "unavailable", stage: "answered", message: /more than 8 MiB/ });
  }
  const many = response(...Array.from({ length: 9 }, () => bytes(`data:${"x".repeat(1 << 20)}\n`)));
  assert.throws(() => [...events(many)], { message: /an event of more than 8 MiB/ });
  assert.throws(() => [...values(response(bytes("1\n<html>\n")))], { kind: "unavailable", message: /<html>/ });
});
