import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Ended, TestHost } from "carapace-sdk/testing";

let host: TestHost;
beforeEach(async () => void (host = await TestHost.start()));
afterEach(() => host.stop());

test("what is added is listed with the kernel's date until it is done", async () => {
  const id = await host.text("todo_add", { text: " Water the plants. " });
  assert.match(id, /^[0-9a-f]{8}$/);
  host.nowMs(Date.parse("2026-07-03T00:00:00Z"));
  const other = await host.text("todo_add", { text: "Grüße 👋 schicken" });
  assert.notEqual(id, other, "chance is the kernel's, too");
  assert.equal(await host.text("todo_list"), `${id} 2026-07-01 Water the plants.\n${other} 2026-07-03 Grüße 👋 schicken`);
  assert.equal(await host.text("todo_done", { id }), "done");
  assert.equal(await host.text("todo_list"), `${other} 2026-07-03 Grüße 👋 schicken`);
});

test("what the model got wrong it is told", async () => {
  await assert.rejects(host.call("todo_add", { text: " " }), { kind: "invalid-arguments", message: /empty/ });
  await assert.rejects(host.call("todo_done", { id: "00000000" }), { kind: "not-found" });
});

test("an owner who refuses the pairs is told so", async () => {
  host.refuse("kv");
  await assert.rejects(host.call("todo_list"), { kind: "denied", message: /not granted/ });
});

test("an exception ends the call, and the log says where it was", async () => {
  // The kernel would not let such arguments pass; the component has to end without doing harm.
  await assert.rejects(host.call("todo_add", { text: 7 }), Ended);
  assert.match(host.logged.at(-1)?.message ?? "", /^TypeError: .*component\.js/s);
});

test("the tools are those of the manifest", async () => {
  assert.deepEqual(await host.list(), ["todo_add", "todo_list", "todo_done"]);
});
