/**
 * A chat service with an API of JSON, by long poll.
 *
 * The kernel repeats the poll, hands over each update, and keeps what is answered: the state, and the message that came in. Only then is
 * the service told, by the next poll, that the update is done.
 */
import { http } from "carapace-sdk";
import {
  defineChannel,
  direct,
  Failure,
  group,
  item,
  json,
  outcome,
  part,
  person,
  pieces,
  receipt,
  type Said,
  text,
} from "carapace-sdk/channel";

/** Characters of one message. */
const LIMIT = 4_000;
/** How long the service holds a poll open when there is nothing, s. */
const HOLD = 25;

/** What lasts from one event to the next. A later version must read what an earlier one wrote. */
interface State {
  /** The last update that is done. */
  readonly after: number;
  /** The account that speaks here. */
  readonly me: string;
}

interface Update {
  readonly id: number;
  readonly edited?: boolean;
  readonly message?: Posted;
}

interface Posted {
  readonly id: string;
  /** Without a name: two people's own. */
  readonly room: { readonly id: string; readonly name?: string };
  readonly thread?: string;
  readonly from: { readonly id: string; readonly name: string; readonly bot?: boolean };
  readonly text: string;
  readonly mentions?: readonly string[];
  readonly reply_to?: { readonly id: string; readonly from: string };
  /** Seconds since the Unix epoch. */
  readonly at?: number;
}

export const channel = defineChannel<State>({
  initial: { after: 0, me: "" },

  describe: () => ({
    textLimit: LIMIT,
    textUnit: "scalars",
    // The service drops a second message with the same key: what was in flight at a crash may be sent again.
    keyWindowS: 600,
    typing: { lastsMs: 5_000, stops: false },
  }),

  start(state) {
    const me = answered(http.get("api", "/me")) as { id: string };
    return poll({ ...state, me: me.id });
  },

  onEvent(state, event) {
    switch (event.tag) {
      case "item": {
        const { id, edited = false, message } = json(event.val.data) as Update;
        const next = poll(past(state, id));
        // A kind of update that this version does not know.
        if (message === undefined) return next;
        return edited ? next.edited(said(message, state.me, `edit:${id}`)) : next.message(said(message, state.me, message.id));
      }
      case "passed-over":
        return poll(past(state, Number(event.val)));
      default:
        return outcome(state);
    }
  },

  split({ status, headers, body }) {
    refused(status, headers, text(body));
    const { updates } = json(body) as { updates: Update[] };
    return updates.map((update) => item(String(update.id), update));
  },

  render(_conversation, { text, replyTo }) {
    // The service takes Markdown as it is.
    return pieces(text.trim(), LIMIT, "scalars").map((piece) => part(piece, { text: piece, reply_to: replyTo }));
  },

  send({ conversation, part, key }) {
    const body = { room: conversation.id, thread: conversation.thread, ...(json(part.data) as object), key };
    const sent = answered(http.post("api", "/messages", { json: body })) as { id: string };
    return receipt(sent.id);
  },

  typing({ id, thread }, on) {
    if (on) answered(http.post("api", "/typing", { json: { room: id, thread } }));
  },
});

function poll(state: State) {
  const options = { query: { after: state.after, wait: HOLD }, timeoutMs: (HOLD + 10) * 1000 };
  return outcome(state).poll(http.prepared("GET", "api", "/updates", options), 200);
}

function past(state: State, update: number): State {
  return { ...state, after: Math.max(state.after, update) };
}

function said(m: Posted, me: string, key: string): Said {
  const thread = m.thread ?? null;
  return {
    key,
    id: m.id,
    conversation: m.room.name === undefined ? direct(m.room.id, thread) : group(m.room.id, m.room.name, thread),
    sender: { ...person(m.from.id, m.from.name), isBot: m.from.bot ?? false, isMe: m.from.id === me },
    text: m.text,
    mentionsMe: m.reply_to?.from === me || (m.mentions ?? []).includes(me),
    replyTo: m.reply_to?.id ?? null,
    atMs: m.at === undefined ? null : m.at * 1000,
  };
}

/** What a request brought. */
function answered(response: http.Response): unknown {
  // From here on the request may have been carried out.
  const body = response.bytes(1 << 20);
  refused(response.status, response.headers, text(body));
  return json(body);
}

/** Why the service did not do it: what the kernel does next depends on that. */
function refused(status: number, headers: [string, string][], body: string): void {
  if (status >= 200 && status < 300) return;
  const message = `the service answered ${status}: ${body.trim().slice(0, 200)}`;
  const after = http.retryAfterMs(headers);
  switch (status) {
    case 401:
    case 403:
      throw Failure.last(`${message}; set the bot's token: carapace secrets set token`);
    case 429: {
      // One room is full, or everything that this account sends has to wait.
      const busy = Failure.retryable(message, after);
      throw http.header(headers, "x-limit-scope") === "room" ? busy : busy.accountWaits();
    }
    default:
      throw status >= 500 ? Failure.retryable(message).uncertain() : Failure.last(message);
  }
}
