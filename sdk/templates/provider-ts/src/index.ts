/** Models behind an API that streams its answers as lines of JSON. */
import { http } from "carapace-sdk";
import { values } from "carapace-sdk/ndjson";
import { defineProvider, Failure, type Message, type Request } from "carapace-sdk/provider";

/** A line of an answer. */
type Line =
  | { readonly text: string }
  | { readonly call: { readonly id: string; readonly name: string; readonly arguments: unknown } }
  | { readonly done: { readonly reason: string; readonly input: number; readonly output: number } };

export const provider = defineProvider({
  models() {
    const { models } = succeed(http.get("api", "/models")).json() as { models: { id: string; context?: number }[] };
    return models.map(({ id, context = null }) => ({ id, context }));
  },

  complete(request, out) {
    const response = succeed(http.post("api", "/chat", { json: body(request) }));
    for (const line of values(response) as Iterable<Line>) {
      if ("text" in line) {
        out.text(line.text);
      } else if ("call" in line) {
        const { id, name } = line.call;
        out.toolCall({ id, name, arguments: JSON.stringify(line.call.arguments) });
      } else {
        const { reason, input, output } = line.done;
        out.usage({ input, output });
        const reasons = { stop: "end", calls: "tool-calls", length: "length" } as const;
        return out.stop(reasons[reason as keyof typeof reasons] ?? { tag: "other", val: reason });
      }
    }
    // Half an answer is told as that, never as a whole one.
    throw new Failure("interrupted", "the stream ended before the answer did");
  },
});

/** A refusal by its kind: what the kernel does next depends on it. */
function succeed(response: http.Response): http.Response {
  const kinds = { 401: "authentication", 403: "authentication", 404: "unknown-model", 429: "rate-limited" } as const;
  const kind = kinds[response.status as keyof typeof kinds];
  if (kind === undefined) return response.success();
  const retryAfterMs = http.retryAfterMs(response.headers);
  throw new Failure(kind, `the server answered ${response.status}: ${response.text().slice(0, 300)}`, { retryAfterMs });
}

/** The request as the server wants it. */
function body({ model, messages, tools, maxOutput, temperature }: Request): unknown {
  return {
    model,
    messages: messages.flatMap(said),
    tools: tools.map((t) => ({ name: t.name, description: t.description, parameters: JSON.parse(t.parameters) as unknown })),
    max_tokens: maxOutput,
    temperature,
  };
}

/** A message: its text, then what was called or came back. This server sees no images. */
function said({ role, parts }: Message): unknown[] {
  return parts.flatMap((part): unknown[] => {
    switch (part.tag) {
      case "text":
        return [{ role, text: part.val }];
      case "tool-call":
        return [{ role, call: part.val.id, name: part.val.name, arguments: part.val.arguments }];
      case "tool-result":
        return [{ role, call: part.val.callId, text: part.val.content }];
      default:
        return [];
    }
  });
}
