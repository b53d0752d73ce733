/** Server-sent events (WHATWG HTML, "server-sent events"), from chunks cut anywhere. */
import type { Response } from "./http.ts";
import { Lines, MAX, tooLong } from "./line-reader.ts";

/** One event. */
export interface Event {
  /** Its type; `message` if none was given. */
  readonly name: string;
  /** Its data lines, joined by line feeds. */
  readonly data: string;
}

/** The events of a response, each as it arrives. */
export function* events(response: Response): Generator<Event> {
  const [lines, reader] = [new Lines(true), new Reader()];
  for (const chunk of response.chunks()) {
    for (const line of lines.push(chunk)) yield* reader.line(line);
  }
  // The specification drops an event without its blank line; many servers leave that out after the last one, so it counts here.
  const last = lines.finish();
  if (last !== undefined) yield* reader.line(last);
  yield* reader.line("");
}

class Reader {
  #started = false;
  #name = "";
  #data: string[] = [];
  #length = 0;

  *line(given: string): Generator<Event> {
    const line = this.#started ? given : given.replace(/^\ufeff/, "");
    this.#started = true;
    if (line === "") {
      const event = { name: this.#name === "" ? "message" : this.#name, data: this.#data.join("\n") };
      const complete = this.#data.length > 0;
      [this.#name, this.#data, this.#length] = ["", [], 0];
      if (complete) yield event;
      return;
    }
    const colon = line.indexOf(":");
    const [field, rest] = colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1)];
    const value = rest.startsWith(" ") ? rest.slice(1) : rest;
    if (field === "data") {
      this.#length += value.length;
      if (this.#length > MAX) throw tooLong("an event");
      this.#data.push(value);
    } else if (field === "event") {
      this.#name = value;
    }
    // `id`, `retry`, comments, and what is not known.
  }
}
