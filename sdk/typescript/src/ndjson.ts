/** JSON values, one a line (<https://github.com/ndjson/ndjson-spec>), from chunks cut anywhere. */
import { HostError } from "./error.ts";
import { HttpError, type Response } from "./http.ts";
import { Lines } from "./line-reader.ts";

/** How much of a line is quoted, characters. */
const EXCERPT = 200;

/** The values of a response, each as it arrives. What one is, the caller must check. Empty lines are skipped. */
export function* values(response: Response): Generator<unknown> {
  const lines = new Lines(false);
  for (const chunk of response.chunks()) {
    for (const line of lines.push(chunk)) yield* value(line);
  }
  // A last line without its end counts, and may be cut.
  yield* value(lines.finish() ?? "");
}

function* value(line: string): Generator<unknown> {
  const text = line.replace(/^\ufeff/, "").trim();
  if (text === "") return;
  yield parsed(text);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    const excerpt = [...text].slice(0, EXCERPT).join("");
    throw new HttpError(new HostError("unavailable", `the server sent a line that cannot be read: ${excerpt}`), "answered");
  }
}
