// What the tests of the component in Rust (components/channels/webhook) ask of this one, too, is not asked again here.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { ChannelFailure, TestHost, unreachable, webhook } from "carapace-sdk/testing";

let host: TestHost;
beforeEach(async () => void (host = await TestHost.start()));
afterEach(() => host.stop());

const ann = { id: "ann", kind: "direct", thread: null, title: null } as const;

test("it says what the configuration says", async () => {
  assert.equal((await host.channel.describe()).keyWindowS, 300);
  host.config({ dedupeSeconds: 0 });
  const { keyWindowS, textUnit, typing } = await host.channel.describe();
  assert.deepEqual([keyWindowS, textUnit, typing], [0, "bytes", null]);
  assert.deepEqual((await host.channel.start()).outcome.link, { tag: "idle" });
});

test("a query is decoded as forms encode it", async () => {
  host.config({ fields: { conversation: "query:room", text: "/a~1b/1" } });
  const event = webhook("token", { from: "ann", id: "1", "a/b": ["no", "Grüße 👋"] }, { query: "x=1&room=a+b%20%C3%BC%zz" });
  const led = await host.channel.event(null, event);
  const [message] = led.messages;
  assert.deepEqual([message?.conversation.id, message?.text, message?.sender.name], ["a b ü%zz", "Grüße 👋", "ann"]);
  assert.deepEqual(led.response, { status: 202, body: '{"accepted":true,"key":"1"}' });
});

test("texts of all kinds come and go as they are, and what is no UTF-8 becomes U+FFFD", async () => {
  const text = "\u0000 a \u007f\u0080 grün 日本 👋 \u{10ffff} 100% %41 +";
  const [said] = (await host.channel.event(null, webhook("token", { from: "ann", id: "1", text }))).messages;
  assert.equal(said?.text, text);
  const [part] = await host.channel.render(ann, text);
  assert.equal(part?.text, text);
  assert.equal((JSON.parse(Buffer.from(part.data).toString()) as { text: string }).text, text);
  const broken = webhook("token", "");
  assert.ok(broken.tag === "webhook");
  broken.val.body = new Uint8Array(Buffer.concat([Buffer.from('{"from":"ann","id":"1","text":"a'), Buffer.of(0xff), Buffer.from('b"}')]));
  assert.equal((await host.channel.event(null, broken)).messages[0]?.text, "a\ufffdb");
});

test("what may have arrived is told from what did not", async () => {
  const [part] = await host.channel.render(ann, "Hello");
  assert.ok(part);
  host.on("POST", "out", "/", unreachable);
  const failed = await host.channel.send(ann, part, "k").catch((e: unknown) => e);
  assert.ok(failed instanceof ChannelFailure && failed.retryable && !failed.uncertain, String(failed));
  host.on("POST", "out", "/", { status: 503, headers: { "retry-after": "Wed, 01 Jul 2026 12:35:56 GMT" } }).nowMs(Date.UTC(2026, 6, 1, 12, 34, 56));
  await assert.rejects(host.channel.send(ann, part, "k"), { retryable: true, retryAfterMs: 60_000, scope: "conversation" });
  host.on("POST", "out", "/", { status: 200, json: { id: "r-1" } });
  assert.equal((await host.channel.send(ann, part, "k")).id, "r-1");
});
