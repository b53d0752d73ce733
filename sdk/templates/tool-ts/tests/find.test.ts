import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { TestHost, unreachable } from "carapace-sdk/testing";

let host: TestHost;
beforeEach(async () => void (host = await TestHost.start()));
afterEach(() => host.stop());

test("places are asked for by name and listed", async () => {
  const places = [
    { name: "Bergen", country: "NO" },
    { name: "Bergen", country: "DE" },
  ];
  host.on("GET", "api", "/places", { status: 200, json: places });
  assert.equal(await host.text("my_tool_find", { name: " Bergen " }), "Bergen, NO\nBergen, DE");
  assert.equal(host.sent[0]?.path, "/places?name=Bergen");
});

test("what the model can correct it is told", async () => {
  await assert.rejects(host.call("my_tool_find", { name: " " }), { kind: "invalid-arguments" });
  host.answer({ status: 200, json: [] });
  await assert.rejects(host.call("my_tool_find", { name: "Nowhere" }), { kind: "not-found" });
});

test("a server that fails may be asked again", async () => {
  host.answer({ status: 503 }).answer(unreachable);
  for (let i = 0; i < 2; i++) {
    await assert.rejects(host.call("my_tool_find", { name: "Bergen" }), { kind: "unavailable" });
  }
});
