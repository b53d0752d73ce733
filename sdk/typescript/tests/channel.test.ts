import assert from "node:assert/strict";
import { test } from "node:test";
import { prepared } from "../src/http.ts";
import { defineChannel, direct, outcome, person, pieces, text, type TextUnit } from "../src/channel.ts";
import { fromHost, toHost } from "../src/testing/wire.ts";
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

const channel = defineChannel<{ n: number }>({
  initial: { n: 0 },
  describe: () => ({ textLimit: 9, textUnit: "bytes" }),
  start: (state) => outcome(state).socket(),
  onEvent(state, event) {
    const next = outcome({ n: state.n + 1 });
    switch (event.tag) {
      case "dial":
        return next.connect({ endpoint: "gateway", to: { path: "/v1" }, headers: { "x-a": "b" }, pingMs: 30_000 });
      case "frame":
        return next
          .message({ key: "k", id: "k", conversation: direct("a"), sender: person("a", "Ann"), text: text(event.val.data) })
          .frameJson(event.val.socket, { ack: true })
          .frame(event.val.socket, Uint8Array.of(1, 2))
          .close(event.val.socket, 4000, "done")
          .dial()
          .timer("later", 1e12, 5)
          .withoutTimer("never");
      case "line":
        return next.refuseLine(`${event.val.client} wrote ${event.val.text}`);
      default:
        return next;
    }
  },
  render: () => [],
  send: () => ({ id: "", extra: [] }),
});

test("what follows from an event is as the contract has it, and as the test host writes it", () => {
  assert.deepEqual(channel.start(new Uint8Array()).link, { tag: "socket", val: 0 });
  const dialled = channel.onEvent(encode('{"n":4}'), { tag: "dial", val: { reason: "start", failures: 0, status: null, open: [] } }, 1);
  assert.equal(text(dialled.state), '{"n":5}');
  const target = { endpoint: "gateway", address: { tag: "path", val: "/v1" }, headers: [["x-a", "b"]], pingMs: 30_000, extra: [] };
  assert.deepEqual(dialled.effects, [{ tag: "connect", val: target }]);
  // The engine gives bytes as numbers.
  const data = [...Buffer.from("hi")] as unknown as Uint8Array;
  const led = channel.onEvent(encode("{}"), { tag: "frame", val: { socket: 7, text: true, data } }, 1);
  assert.deepEqual(led.effects, [
    { tag: "frame", val: { socket: 7, text: true, data: encode('{"ack":true}') } },
    { tag: "frame", val: { socket: 7, text: false, data: Uint8Array.of(1, 2) } },
    { tag: "close", val: { socket: 7, code: 4000, reason: "done" } },
    { tag: "dial" },
  ]);
  assert.deepEqual(led.timers, [
    { id: "later", afterMs: 0x7fff_ffff, jitterMs: 5 },
    { id: "never", afterMs: null, jitterMs: 0 },
  ]);
  const [inbound] = led.inbound;
  assert.ok(inbound?.tag === "message" && inbound.val.text === "hi" && inbound.val.replyTo === null);
  for (const follows of [dialled, led]) assert.deepEqual(fromHost(toHost(follows)), follows);
});

test("a program is told why its line is not taken", () => {
  const led = channel.onEvent(encode("{}"), { tag: "line", val: { client: "editor", id: "1", text: "hi" } }, 1);
  assert.equal(led.response?.status, 400);
  assert.equal(text(led.response?.body ?? new Uint8Array()), "editor wrote hi");
});

test("a state that cannot be read is told, and is none the next time", () => {
  assert.throws(
    () => channel.start(encode("{")),
    (thrown: { payload: { message: string; retryable: boolean } }) =>
      !thrown.payload.retryable && thrown.payload.message.startsWith("the state that was kept cannot be read"),
  );
});

test("a form is written as the RFC says, with blobs in their places", () => {
  const id = "0123456789abcdef";
  const form = [{ name: "chat", text: "7" }, { name: "photo", blob: id, fileName: 'a"\r\n.png', mime: "image/png" }];
  const { headers, body, extra } = prepared("POST", "api", "/send", { form });
  assert.deepEqual(headers, [["content-type", "multipart/form-data; boundary=form-0123456789ab"]]);
  const text = body.tag === "bytes" ? Buffer.from(body.val).toString() : "";
  assert.equal(
    text,
    '--form-0123456789ab\r\ncontent-disposition: form-data; name="chat"\r\n\r\n7\r\n' +
      '--form-0123456789ab\r\ncontent-disposition: form-data; name="photo"; filename="a%22%0D%0A.png"\r\n' +
      "content-type: image/png\r\n\r\n\r\n--form-0123456789ab--\r\n",
  );
  const head = "image/png\r\n\r\n";
  assert.deepEqual(extra, [["blob", `${text.indexOf(head) + head.length} ${id}`]]);
  const held = prepared("POST", "api", "/send", { form: [{ name: "a", text: "--form-\r\n" }, { name: "b", text: "form-x" }] });
  assert.equal(held.headers[0]?.[1], "multipart/form-data; boundary=form-xx");
});
