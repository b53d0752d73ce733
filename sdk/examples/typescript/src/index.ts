/** A list of things to do, kept in the component's own pairs. */
import { kv, log, tool, ToolError, toolset } from "carapace-sdk";

interface Item {
  readonly text: string;
  /** When it was added, ISO 8601. */
  readonly added: string;
}

const PREFIX = "item/";
const NOTHING = { type: "object", additionalProperties: false } as const;

const items = (): [id: string, item: Item][] =>
  kv.keys(PREFIX).map((key) => [key.slice(PREFIX.length), kv.getJson(key) as Item]);

const add = tool({
  name: "todo_add",
  description: "Adds something to do; gives its id.",
  parameters: {
    type: "object",
    properties: {
      text: { type: "string", description: "What is to be done." },
      days: { type: "integer", minimum: 1, maximum: 365, description: "After so many days it is forgotten." },
    },
    required: ["text"],
    additionalProperties: false,
  },
  call({ text, days }) {
    if (text.trim() === "") throw ToolError.invalid("`text` is empty; say what is to be done");
    const id = crypto.randomUUID().slice(0, 8);
    const item: Item = { text: text.trim(), added: new Date().toISOString() };
    kv.setJson(PREFIX + id, item, days === undefined ? null : days * 86_400_000);
    log.debug("added", { id });
    return id;
  },
});

const list = tool({
  name: "todo_list",
  description: "What is to be done, oldest first.",
  parameters: NOTHING,
  call() {
    const all = items().sort(([, a], [, b]) => a.added.localeCompare(b.added));
    return all.map(([id, { text, added }]) => `${id} ${added.slice(0, 10)} ${text}`).join("\n") || "nothing is to be done";
  },
});

const done = tool({
  name: "todo_done",
  description: "Takes something off the list.",
  parameters: {
    type: "object",
    properties: { id: { type: "string", description: "As todo_add gave it." } },
    required: ["id"],
    additionalProperties: false,
  },
  call({ id }) {
    if (!kv.remove(PREFIX + id)) throw ToolError.notFound(`nothing has the id \`${id}\``);
    return "done";
  },
});

export const tools = toolset(add, list, done);
