import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { item, TestHost, unreachable } from "carapace-sdk/testing";

let host: TestHost;
beforeEach(async () => void (host = await TestHost.start()));
afterEach(() => host.stop());

const state = { after: 10, me: "bot" };
const ann = { id: "ann", kind: "direct", thread: null, title: null } as const;

function message(room: unknown, more: Record<string, unknown> = {}) {
  return { id: "m1", room, from: { id: "ann", name: "Ann" }, text: "Hello", at: 1_700_000_000, ...more };
}
function update(id: number, message: unknown, edited = false) {
  return item(String(id), { id, edited, message });
}

test("it learns who it is and polls from where it was", async () => {
  for (const [kept, polls] of [[undefined, 0], [state, 10]] as const) {
    host.on("GET", "api", "/me", { status: 200, json: { id: "bot" } });
    const led = await host.channel.start(kept);
    assert.equal(led.polls, `api:/updates?after=${polls}&wait=25`);
    assert.equal((led.state as typeof state).me, "bot");
  }
});

test("a wrong token is told with what to do", async () => {
  host.answer({ status: 401, body: "unknown bot" });
  await assert.rejects(host.channel.start(), { retryable: false, message: /unknown bot.*carapace secrets set token/ });
});

test("a poll is split into updates and each is a message", async () => {
  const [first, second] = await host.channel.split(200, { updates: [{ id: 11, message: message({ id: "ann" }) }, { id: 12 }] });
  assert.ok(first && second);
  assert.deepEqual([first.cursor, second.cursor], ["11", "12"]);
  const led = await host.channel.event(state, { tag: "item", val: first });
  const [said] = led.messages;
  assert.deepEqual([said?.key, said?.text, said?.sender.id, said?.conversation.kind, said?.atMs], ["m1", "Hello", "ann", "direct", 1_700_000_000_000]);
  // The next poll tells the service that this one is done.
  assert.equal(led.polls, "api:/updates?after=11&wait=25");
  // What this version does not know, and what the kernel gave up on, is passed.
  const unknown = await host.channel.event(state, { tag: "item", val: second });
  assert.deepEqual([unknown.messages.length, unknown.polls], [0, "api:/updates?after=12&wait=25"]);
  const passed = await host.channel.event(state, { tag: "passed-over", val: "13" });
  assert.equal(passed.polls, "api:/updates?after=13&wait=25");
});

test("in a group it knows when it is meant", async () => {
  const group = { id: "team", name: "The team" };
  const cases: [Record<string, unknown>, boolean][] = [
    [{}, false],
    [{ mentions: ["bo", "bot"] }, true],
    [{ reply_to: { id: "m0", from: "bot" } }, true],
    [{ reply_to: { id: "m0", from: "bo" } }, false],
  ];
  for (const [more, meant] of cases) {
    const [said] = (await host.channel.event(state, update(11, message(group, more)))).messages;
    assert.deepEqual([said?.conversation.kind, said?.mentionsMe], ["group", meant]);
  }
  const own = message(group, { from: { id: "bot", name: "Bot", bot: true } });
  const [said] = (await host.channel.event(state, update(11, own))).messages;
  assert.ok(said?.sender.isMe && said.sender.isBot);
});

test("an edit is the same message with a key of its own", async () => {
  const led = await host.channel.event(state, update(11, message({ id: "ann" }, { text: "Hello!" }), true));
  const [said] = led.messages;
  assert.deepEqual([led.isEdit(0), said?.id, said?.key, said?.text], [true, "m1", "edit:11", "Hello!"]);
});

test("an answer goes out under its key and shows that somebody writes", async () => {
  const room = { id: "team", kind: "group", thread: "t", title: null } as const;
  host.on("POST", "api", "/typing", { status: 200, json: {} });
  host.on("POST", "api", "/messages", { status: 200, json: { id: "m9" } });
  await host.channel.typing(room);
  const [part] = await host.channel.render(room, " **Yes.** ");
  assert.ok(part);
  assert.equal((await host.channel.send(room, part, "k-1")).id, "m9");
  const body = JSON.parse(host.sent[1]?.body ?? "") as unknown;
  assert.deepEqual(body, { room: "team", thread: "t", text: "**Yes.**", reply_to: null, key: "k-1" });
});

test("a long answer is several messages", async () => {
  const text = "line of text\n".repeat(1_000);
  const parts = await host.channel.render(ann, text);
  assert.equal(parts.map((p) => p.text).join(""), text.trim());
  assert.ok(parts.length === 4 && parts.every((p) => [...p.text].length <= 4_000));
});

test("a refusal says what waits and for how long and whether it may have arrived", async () => {
  const headers = { "retry-after": "3" };
  for (const [answer, expected] of [
    [{ status: 429, headers }, { retryable: true, retryAfterMs: 3_000, scope: "account", uncertain: false }],
    [{ status: 429, headers: { ...headers, "x-limit-scope": "room" } }, { retryable: true, retryAfterMs: 3_000, scope: "conversation", uncertain: false }],
    [{ status: 503 }, { retryable: true, retryAfterMs: null, scope: "conversation", uncertain: true }],
    [unreachable, { retryable: true, retryAfterMs: null, scope: "conversation", uncertain: false }],
    [{ status: 400 }, { retryable: false, retryAfterMs: null, scope: "conversation", uncertain: false }],
  ] as const) {
    host.on("POST", "api", "/messages", answer);
    const [part] = await host.channel.render(ann, "Hello");
    assert.ok(part);
    await assert.rejects(host.channel.send(ann, part, "k"), expected);
  }
});
