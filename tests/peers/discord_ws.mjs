// npm `@discordjs/ws` and `@discordjs/rest` against a Discord: IDENTIFY, heartbeats that are answered, asked for, and missed, RESUME, and what a bot
// does about a message: typing, an answer that answers, a change, a reaction, a file, a deletion, and what is refused. It stops after so many messages.
//
// Says on its standard output when it is ready, when it has resumed, when it left a connection and with which code, and at the end how many
// heartbeats were answered.
//
// Usage: discord_ws.mjs NPM_DIR BASE_URL TOKEN plain|zlib MESSAGES

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const [npm, base, token, transport, most] = process.argv.slice(2);
const require = createRequire(join(npm, "node_modules", "noop.js"));
const { CompressionMethod, WebSocketManager, WebSocketShardEvents: Events } = require("@discordjs/ws");
const { DiscordAPIError, REST } = require("@discordjs/rest");
const { GatewayIntentBits: Intent, Routes } = require("discord-api-types/v10");

const rest = new REST({ api: `${base}/api`, retries: 0 }).setToken(token);
const manager = new WebSocketManager({
  token,
  rest,
  intents: Intent.Guilds | Intent.GuildMessages | Intent.DirectMessages | Intent.MessageContent,
  compression: transport === "zlib" ? CompressionMethod.ZlibNative : null,
});
const say = (line) => process.stdout.write(`${line}\n`);
let me, beats = 0, answered = 0;

manager.on(Events.Ready, (data) => {
  me = data.user.id;
  say("ready");
});
manager.on(Events.Resumed, () => say("resumed"));
manager.on(Events.Closed, (code) => say(`closed ${code}`));
manager.on(Events.HeartbeatComplete, ({ latency }) => {
  assert.ok(latency >= 0);
  beats += 1;
});
manager.on(Events.Error, (error) => fail(error));
manager.on(Events.Dispatch, (event) => {
  if (event.t === "MESSAGE_CREATE" && event.d.author.id !== me) answer(event.d).catch(fail);
});

async function refused(attempt, code) {
  await assert.rejects(attempt, (error) => error instanceof DiscordAPIError && error.code === code);
}

async function answer(message) {
  const here = message.channel_id;
  await rest.post(Routes.channelTyping(here));
  const reply = { content: `You: ${message.content}`, nonce: message.id, enforce_nonce: true, allowed_mentions: { parse: [] }, message_reference: { message_id: message.id } };
  const said = await rest.post(Routes.channelMessages(here), { body: reply });
  assert.equal(said.message_reference.message_id, message.id);
  // The same nonce again is the same message.
  assert.equal((await rest.post(Routes.channelMessages(here), { body: reply })).id, said.id);
  const changed = await rest.patch(Routes.channelMessage(here, said.id), { body: { content: `You said: ${message.content}` } });
  assert.ok(changed.edited_timestamp && changed.content.startsWith("You said"));
  await rest.put(Routes.channelMessageOwnReaction(here, message.id, encodeURIComponent("👀")));
  const files = [{ name: "note.txt", data: Buffer.from("a note"), contentType: "text/plain" }];
  const file = await rest.post(Routes.channelMessages(here), { body: { content: "" }, files });
  assert.equal(await (await fetch(file.attachments[0].url)).text(), "a note");
  await rest.delete(Routes.channelMessage(here, file.id));
  await refused(rest.get(Routes.channelMessage(here, file.id)), 10008);
  await refused(rest.post(Routes.channelMessages(here), { body: { content: "x".repeat(2001) } }), 50035);
  answered += 1;
  if (answered < Number(most)) return;
  say(`${beats} heartbeats`);
  await manager.destroy();
  process.exit(0);
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

await manager.connect();
