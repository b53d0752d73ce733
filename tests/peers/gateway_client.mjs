// npm `@openclaw/gateway-client` drives the gateway's /ws; every frame, in both directions, is checked against the schema of
// npm `@openclaw/gateway-protocol` by a proxy in between.
//
// Usage: gateway_client.mjs NPM_DIR WS_URL TOKEN. Ends with 0 if everything was as the client and the schema expect it.
// The model behind answers "Good evening?" with "Good evening.", and to "Ponder" it says one letter and then nothing for long.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [npm, upstream, token] = process.argv.slice(2);
const require = createRequire(join(npm, "node_modules", "noop.js"));
const { GatewayClient } = await import(pathToFileURL(require.resolve("@openclaw/gateway-client")));
const { WebSocket, WebSocketServer } = require("ws");
const Ajv = require("ajv");

const schema = JSON.parse(readFileSync(join(npm, "node_modules/@openclaw/gateway-protocol/protocol.schema.json"), "utf8"));
const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema(schema, "protocol");
const definition = (name) => {
  assert.ok(schema.definitions[name], `the schema has no ${name}`);
  return ajv.compile({ $ref: `protocol#/definitions/${name}` });
};
const frames = ajv.compile({ oneOf: ["RequestFrame", "ResponseFrame", "EventFrame"].map((d) => ({ $ref: `protocol#/definitions/${d}` })) });
const params = {
  connect: "ConnectParams", agent: "AgentParams", "agent.wait": "AgentWaitParams", "chat.send": "ChatSendParams",
  "chat.abort": "ChatAbortParams", "chat.history": "ChatHistoryParams", "sessions.list": "SessionsListParams",
  "sessions.preview": "SessionsPreviewParams", "models.list": "ModelsListParams", "tools.catalog": "ToolsCatalogParams",
};
const results = { connect: "HelloOk", "models.list": "ModelsListResult", "tools.catalog": "ToolsCatalogResult" };
const events = { chat: "ChatEvent", agent: "AgentEvent", tick: "TickEvent", shutdown: "ShutdownEvent" };
const checks = new Map();
const wrong = [];
const counts = { in: 0, out: 0, payloads: 0 };

function check(what, name, value, frame) {
  const test = name === undefined ? frames : checks.get(name) ?? checks.set(name, definition(name)).get(name);
  if (name !== undefined) counts.payloads += 1;
  if (!test(value)) wrong.push(`${what}: ${ajv.errorsText(test.errors)}\n  ${JSON.stringify(frame)}`);
}

const asked = new Map();
function inspect(direction, text) {
  counts[direction] += 1;
  const frame = JSON.parse(text);
  check("frame", undefined, frame, frame);
  if (frame.type === "req") {
    asked.set(frame.id, frame.method);
    if (params[frame.method]) check(`params of ${frame.method}`, params[frame.method], frame.params ?? {}, frame);
  } else if (frame.type === "res") {
    const method = asked.get(frame.id);
    assert.ok(method, `an answer to nothing: ${text}`);
    if (frame.ok && results[method]) check(`result of ${method}`, results[method], frame.payload, frame);
    if (!frame.ok) check(`error of ${method}`, "ErrorShape", frame.error, frame);
  } else if (events[frame.event]) {
    check(`event ${frame.event}`, events[frame.event], frame.payload, frame);
  } else if (frame.event === "health") {
    check("event health", "Snapshot", { presence: [], health: frame.payload, stateVersion: { presence: 0, health: 0 }, uptimeMs: 0 }, frame);
  }
}

const proxy = new WebSocketServer({ host: "127.0.0.1", port: 0 });
await new Promise((ready) => proxy.once("listening", ready));
proxy.on("connection", (near) => {
  const far = new WebSocket(upstream);
  const early = [];
  const pass = (to, direction) => (data) => {
    inspect(direction, String(data));
    if (to.readyState === WebSocket.CONNECTING) early.push(String(data));
    else to.send(String(data));
  };
  far.on("open", () => early.splice(0).forEach((text) => far.send(text)));
  near.on("message", pass(far, "in"));
  far.on("message", pass(near, "out"));
  near.on("close", () => far.close());
  far.on("close", (code, reason) => near.close(code === 1005 || code === 1006 ? 1000 : code, reason));
  far.on("error", () => near.close(1011));
});
const url = `ws://127.0.0.1:${proxy.address().port}/ws`;

function connect(options, onEvent) {
  return new Promise((resolve, reject) => {
    const client = new GatewayClient({
      url, minProtocol: 4, maxProtocol: 4, onEvent,
      onHelloOk: (hello) => resolve({ client, hello }),
      onConnectError: (error) => reject(Object.assign(error, { client })),
      ...options,
    });
    client.start();
  });
}

// A wrong token is refused by its name.
const refused = await connect({ token: "not-the-token" }).then(() => assert.fail("a wrong token was accepted"), (e) => e);
await refused.client.stopAndWait();
assert.match(refused.message, /token/);
assert.equal(refused.details.code, "AUTH_TOKEN_MISMATCH");

const seen = [];
let wake = () => {};
const { client, hello } = await connect({ token }, (event) => { seen.push(event); wake(); });
async function event(wanted) {
  for (;;) {
    const found = seen.find(wanted);
    if (found) return found;
    await new Promise((next) => { wake = next; });
  }
}
const chat = (run, state) => (e) => e.event === "chat" && e.payload.runId === run && e.payload.state === state;

assert.equal(hello.type, "hello-ok");
assert.equal(hello.protocol, 4);
for (const method of ["health", "chat.send", "chat.abort", "chat.history", "sessions.list", "agent", "agent.wait", "models.list", "tools.catalog"]) {
  assert.ok(hello.features.methods.includes(method), `${method} is not announced`);
}

const health = await client.request("health", {});
assert.equal(health.ok, true, JSON.stringify(health));
const models = await client.request("models.list", {});
assert.ok(models.models.some((m) => m.id === "gpt-5-mini"), JSON.stringify(models));
const catalog = await client.request("tools.catalog", {});
const tools = catalog.groups.flatMap((g) => g.tools.map((t) => t.id));
assert.ok(tools.includes("math_eval"), tools.join());

// A message streams to its final event.
const sent = await client.request("chat.send", { sessionKey: "ws", message: "Good evening?", idempotencyKey: "run-1" });
assert.deepEqual(sent, { runId: "run-1", status: "started" });
const final = await event(chat("run-1", "final"));
const said = final.payload.message.content.map((c) => c.text).join("");
assert.equal(said, "Good evening.");
const deltas = seen.filter(chat("run-1", "delta")).map((e) => e.payload.deltaText);
assert.ok(deltas.length > 1, "it did not stream");
assert.equal(deltas.join(""), said);
const seqs = seen.filter((e) => e.seq !== undefined).map((e) => e.seq);
assert.ok(seqs.every((s, i) => i === 0 || s === seqs[i - 1] + 1), `a gap in ${seqs}`);
// The same key again is the same run.
const again = await client.request("chat.send", { sessionKey: "ws", message: "Good evening?", idempotencyKey: "run-1" });
assert.deepEqual(again, { runId: "run-1", status: "ok" });

const history = await client.request("chat.history", { sessionKey: "ws" });
assert.deepEqual(history.messages.map((m) => [m.role, m.content.map((c) => c.text).join("")]),
  [["user", "Good evening?"], ["assistant", "Good evening."]]);
const sessions = await client.request("sessions.list", {});
const row = sessions.sessions.find((s) => s.key === "ws");
assert.equal(row?.messageCount, 2, JSON.stringify(sessions));
const preview = await client.request("sessions.preview", { keys: ["ws", "nobody"] });
assert.deepEqual(preview.previews.map((p) => p.status), ["ok", "empty"]);

// A run that is stopped says so, and keeps what it had said.
await client.request("chat.send", { sessionKey: "stop", message: "Ponder", idempotencyKey: "run-2" });
await event(chat("run-2", "delta"));
const stopped = await client.request("chat.abort", { sessionKey: "stop", runId: "run-2" });
assert.deepEqual(stopped, { ok: true, aborted: true, runIds: ["run-2"] });
const aborted = await event(chat("run-2", "aborted"));
assert.equal(aborted.payload.message.content[0].text, "a");
const nothing = await client.request("chat.abort", { sessionKey: "stop" });
assert.deepEqual(nothing, { ok: true, aborted: false, runIds: [] });

// `agent` answers twice; `agent.wait` finds its run.
const accepted = [];
const outcome = await client.request("agent", { message: "Good evening?", sessionKey: "agent", idempotencyKey: "run-3" },
  { expectFinal: true, onAccepted: (payload) => accepted.push(payload) });
assert.equal(outcome.status, "ok", JSON.stringify(outcome));
assert.equal(outcome.result.payloads[0].text, "Good evening.");
assert.ok(accepted.length === 0 || accepted[0].status === "accepted", JSON.stringify(accepted));
const waited = await client.request("agent.wait", { runId: "run-3", timeoutMs: 30_000 });
assert.deepEqual([waited.runId, waited.status], ["run-3", "ok"]);
assert.ok(waited.endedAt >= waited.startedAt, JSON.stringify(waited));
const failed = await client.request("agent.wait", { runId: "run-2", timeoutMs: 30_000 });
assert.equal(failed.status, "error", JSON.stringify(failed));

// What is not served is refused with a type.
const rejected = async (method, given) =>
  client.request(method, given).then(() => assert.fail(`${method} was answered`), (e) => e);
const unsupported = await rejected("cron.list", {});
assert.equal(unsupported.gatewayCode, "UNAVAILABLE", String(unsupported));
assert.equal(unsupported.details.code, "METHOD_NOT_SUPPORTED");
const unknown = await rejected("no.such.method", {});
assert.equal(unknown.gatewayCode, "INVALID_REQUEST", String(unknown));
const stranger = await rejected("chat.send", { sessionKey: "ws", agentId: "other", message: "x", idempotencyKey: "run-4" });
assert.equal(stranger.details.code, "UNKNOWN_AGENT_ID", String(stranger));
const incomplete = await rejected("chat.history", {});
assert.equal(incomplete.gatewayCode, "INVALID_REQUEST", String(incomplete));

client.stop();
// Asked for less, it gets less.
const reader = await connect({ token, scopes: ["operator.read"] });
const forbidden = await reader.client.request("chat.send", { sessionKey: "ws", message: "x", idempotencyKey: "run-5" })
  .then(() => assert.fail("a reader may write"), (e) => e);
assert.equal(forbidden.details.code, "MISSING_SCOPE", String(forbidden));
await reader.client.request("health", {});
reader.client.stop();
proxy.close();

// The one request that was meant to be wrong.
const meant = wrong.filter((w) => !w.startsWith("params of chat.history"));
assert.equal(wrong.length - meant.length, 1, wrong.join("\n"));
assert.deepEqual(meant, [], meant.join("\n"));
assert.ok(counts.in > 15 && counts.out > 30 && counts.payloads > 30, JSON.stringify(counts));
console.log(`ok ${JSON.stringify(counts)}`);
process.exit(0);
