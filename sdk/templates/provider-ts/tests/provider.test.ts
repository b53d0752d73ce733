import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { system, TestHost, user } from "carapace-sdk/testing";

let host: TestHost;
beforeEach(async () => void (host = await TestHost.start()));
afterEach(() => host.stop());

const question = { model: "small", messages: [system("Be brief."), user("Hello?")] };
const done = '{"done":{"reason":"stop","input":9,"output":2}}\n';

test("what the server lists is listed", async () => {
  host.on("GET", "api", "/models", { status: 200, json: { models: [{ id: "small", context: 8192 }, { id: "large" }] } });
  const models = await host.provider.models();
  assert.deepEqual(models.map((m) => [m.id, m.context]), [["small", 8192], ["large", null]]);
});

test("an answer is pushed as it comes", async () => {
  host.answer({ status: 200, chunks: ['{"text":"Hel"}\n{"te', 'xt":"lo"}\n', done] });
  const pushed = await host.provider.complete(question);
  assert.deepEqual(pushed.map((e) => e.tag), ["text", "text", "usage", "stop"]);
  assert.deepEqual(pushed[3], { tag: "stop", val: { tag: "end" } });
  assert.equal(host.provider.answered, "Hello");
  const sent = JSON.parse(host.sent[0]?.body ?? "") as { model: string; messages: { text: string }[] };
  assert.deepEqual([sent.model, sent.messages[1]?.text], ["small", "Hello?"]);
});

test("a call goes out whole", async () => {
  host.answer({ status: 200, chunks: ['{"call":{"id":"1","name":"time","arguments":{"zone":"UTC"}}}\n', done] });
  const [call] = await host.provider.complete(question);
  assert.deepEqual(call, { tag: "tool-call", val: { id: "1", name: "time", arguments: '{"zone":"UTC"}', extra: [] } });
});

test("half an answer is none", async () => {
  host.answer({ status: 200, chunks: ['{"text":"Hel"}\n'] });
  await assert.rejects(host.provider.complete(question), { kind: "interrupted", retryable: true });
  assert.equal(host.provider.answered, "Hel");
  host.answer({ status: 200, chunks: ['{"text":"Hel"}\n'], breaks: true });
  await assert.rejects(host.provider.complete(question), { kind: "interrupted", retryable: true });
  host.answer({ status: 200, chunks: ["<html>\n"] });
  await assert.rejects(host.provider.complete(question), { kind: "malformed", retryable: true });
});

test("a refusal has its kind and says when to come back", async () => {
  host.answer({ status: 429, headers: { "retry-after": "3" } }).answer({ status: 401 }).answer({ status: 500 });
  await assert.rejects(host.provider.complete(question), { kind: "rate-limited", retryable: true, retryAfterMs: 3000 });
  await assert.rejects(host.provider.complete(question), { kind: "authentication", retryable: false });
  await assert.rejects(host.provider.complete(question), { kind: "unavailable", retryable: true });
});

test("nobody is left to read", async () => {
  host.cancelAfter(1).answer({ status: 200, body: '{"text":"a"}\n'.repeat(9) });
  await assert.rejects(host.provider.complete(question), { kind: "cancelled" });
  assert.equal(host.provider.answered, "a");
});
