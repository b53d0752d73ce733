/**
 * The channel `webhook`, once more: the same manifest, the same behaviour, the same tests as the component in Rust, in another language.
 *
 * Where in a request the message stands is configured; see fields.ts. An answer is a POST of JSON to the endpoint `out`, signed with the
 * secret `signing-secret` if there is one.
 */
import { clock, config, http, secrets } from "carapace-sdk";
import {
  defineChannel,
  direct,
  Failure,
  json,
  outcome,
  part,
  person,
  pieces,
  receipt,
  type Said,
  type WebhookRequest,
} from "carapace-sdk/channel";
import { type Config, configured, DEFAULT, find } from "./fields.ts";

/** Bytes of one message out. */
const LIMIT = 32 << 10;

/** Nothing lasts here. */
type State = null;

export const channel = defineChannel<State>({
  initial: null,

  describe() {
    let { dedupeSeconds } = DEFAULT;
    try {
      ({ dedupeSeconds } = configured(config.get()));
    } catch {
      // What is wrong with the configuration is said at the start.
    }
    return { textLimit: LIMIT, textUnit: "bytes", keyWindowS: dedupeSeconds };
  },

  start(state) {
    settings();
    return outcome(state).idle();
  },

  onEvent(state, event) {
    if (event.tag !== "webhook") return outcome(state);
    const told = (status: number, body: unknown) => outcome(state).respond(status, "application/json", JSON.stringify(body));
    const message = said(settings(), event.val);
    // To whoever sends: it is authentic, and can be told what is wrong with it.
    if (typeof message === "string") return told(422, { error: message });
    return told(202, { accepted: true, key: message.key }).message(message);
  },

  render(_conversation, { text, replyTo }) {
    return pieces(text.trim(), LIMIT, "bytes").map((piece) => part(piece, { text: piece, replyTo }));
  },

  send({ conversation, part, key }) {
    const { text, replyTo } = json(part.data) as { text: string; replyTo: string | null };
    const { id, thread } = conversation;
    const body = JSON.stringify({ type: "message", id: key, conversation: id, thread, text, replyTo });
    const seconds = String(Math.floor(clock.nowMs() / 1000));
    const headers: Record<string, string> = {
      "content-type": "application/json",
      "webhook-id": key,
      "webhook-timestamp": seconds,
    };
    if (secrets.exists("signing-secret")) {
      const signature = secrets.hmacSha256("signing-secret", `${key}.${seconds}.${body}`);
      headers["webhook-signature"] = `v1,${btoa(String.fromCharCode(...signature))}`;
    }
    const response = http.post("out", "/", { headers, body });
    if (response.ok) return receipt(named(response) ?? key);
    const message = `the receiver answered ${response.status}`;
    switch (response.status) {
      case 408:
      case 425:
      case 429:
        throw Failure.retryable(message, http.retryAfterMs(response.headers));
      case 410:
        throw Failure.last(`${message}: it wants nothing more`);
      default:
        throw response.status >= 500 ? Failure.retryable(message, http.retryAfterMs(response.headers)) : Failure.last(message);
    }
  },
});

function settings(): Config {
  try {
    return configured(config.get());
  } catch (wrong) {
    throw Failure.last(wrong instanceof Error ? wrong.message : String(wrong));
  }
}

/** What it answers is its own affair; an id is useful in lists. */
function named(response: http.Response): string | undefined {
  try {
    const answer = response.json();
    const id = typeof answer === "object" && answer !== null && "id" in answer ? answer.id : undefined;
    return typeof id === "string" ? id : undefined;
  } catch {
    return undefined;
  }
}

/** The message, or what is missing of it. */
function said({ fields }: Config, request: WebhookRequest): Said | string {
  let body: unknown;
  try {
    body = json(request.body);
  } catch {
    return "the body is not JSON";
  }
  const at = (source: string) => find(source, request, body);
  const text = at(fields.text);
  if (text === undefined) return `there is no text at \`${fields.text}\``;
  const sender = at(fields.sender);
  if (sender === undefined) return `there is no sender at \`${fields.sender}\``;
  const key = at(fields.key) ?? at("header:webhook-id");
  if (key === undefined) {
    return `there is no key at \`${fields.key}\`: without one, a repeated message could not be told from a new one`;
  }
  const conversation = direct(at(fields.conversation) ?? sender, at(fields.thread) ?? null);
  return { key, id: key, conversation, sender: person(sender, at(fields.name) ?? sender), text };
}
