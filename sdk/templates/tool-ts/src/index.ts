/** Finds places by name. */
import { http, tool, ToolError, toolset } from "carapace-sdk";

interface Place {
  readonly name: string;
  readonly country: string;
}

const find = tool({
  name: "my_tool_find",
  description: "Finds places by name; gives their names and countries.",
  parameters: {
    type: "object",
    properties: { name: { type: "string", description: "A name, or the beginning of one." } },
    required: ["name"],
    additionalProperties: false,
  },
  call(args) {
    const name = args.name.trim();
    if (name === "") throw ToolError.invalid("`name` is empty; give a place's name");
    const places = http.get("api", "/places", { query: { name } }).success().json() as Place[];
    if (places.length === 0) throw ToolError.notFound(`no place is called \`${name}\``);
    return places.map((p) => `${p.name}, ${p.country}`).join("\n");
  },
});

export const tools = toolset(find);
