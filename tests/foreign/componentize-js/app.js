// A stranger's tool: JavaScript in the engine of Firefox, made by componentize-js. It uses the contract, and what it has of WASI.
import * as kv from "carapace:plugin/kv@0.1.0-dev";
import * as log from "carapace:plugin/log@0.1.0-dev";

const parameters = JSON.stringify({
  type: "object",
  properties: { text: { type: "string" } },
  required: ["text"],
  additionalProperties: false,
});

export const tools = {
  list() {
    const description = "Counts the letters of a text, and how many texts there were.";
    return [{ name: "letters_count", description, parameters, extra: [] }];
  },
  call(_name, args) {
    const { text } = JSON.parse(args);
    if (text === "") throw { tag: "invalid-arguments", val: "`text` is empty" };
    const kept = kv.get("texts");
    const texts = kept === undefined ? 1 : Number(new TextDecoder().decode(kept.value)) + 1;
    kv.set("texts", new TextEncoder().encode(String(texts)), undefined);
    const letters = [...text].length;
    log.write("info", "counted", [["letters", String(letters)]]);
    console.log(`printed in ${new Date().getUTCFullYear()}`);
    return [{ tag: "text", val: `${letters} letters, text ${texts}, by chance ${Math.random() < 1}` }];
  },
};
