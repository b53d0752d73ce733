//! Between the `channel` interface's WIT types and the rooms' plain types. What a component answered outside the contract's limits is
//! its mistake: it counts as broken, like a trap.

use super::line;
use carapace_contract::channel::{
    Attachment, ChannelFailure, ChannelFailureKind, ChannelMessage, Closing, Content, Conversation, ConversationKind,
    Description, EditSupport, Effect, Event, FailureScope, Frame, HttpAnswer, Inbound, Item, KernelRequest,
    KernelTarget, Link, MAX_EFFECTS, MAX_ID, MAX_INBOUND, MAX_PART, MAX_PARTS, MAX_STATE, MAX_TEXT, Outcome, Outgoing,
    Place, RenderedPart, Sender, SocketAddress, SocketTarget, TimerChange, TypingSupport, WebhookRequest,
};
use carapace_contract::media::Media;
use carapace_runtime::bindings::{channel as wit, http};

/// The longest name or title that is kept, bytes.
const MAX_LABEL: usize = 256;
/// What fits into a frame that closes a socket, bytes.
const MAX_CLOSE_REASON: usize = 120;
/// Between two changes of a message, at least, ms.
const LEAST_EDIT_MS: u32 = 500;
/// Files of one message.
const MAX_ATTACHMENTS: usize = 32;

fn broken(what: impl Into<String>) -> ChannelFailure {
    ChannelFailure {
        kind: ChannelFailureKind::Broken,
        message: what.into(),
        retry_after_ms: None,
        scope: FailureScope::Conversation,
        uncertain: false,
    }
}

pub(crate) fn description(d: wit::Description) -> Result<Description, ChannelFailure> {
    if d.text_limit == 0 {
        return Err(broken("`describe` says that a message holds no text"));
    }
    Ok(Description {
        text_limit: d.text_limit,
        text_unit: match d.text_unit {
            wit::TextUnit::Bytes => "bytes",
            wit::TextUnit::Utf16 => "utf16",
            wit::TextUnit::Scalars => "scalars",
        }
        .to_owned(),
        key_window_s: d.key_window_s,
        file_limit: d.file_limit,
        typing: d.typing.map(|t| TypingSupport { lasts_ms: t.lasts_ms.max(1_000), stops: t.stops }),
        edits: d.edits.map(|e| EditSupport {
            direct_ms: e.direct_ms.max(LEAST_EDIT_MS),
            group_ms: e.group_ms.max(LEAST_EDIT_MS),
        }),
    })
}

pub(crate) fn failure(f: wit::Failure) -> ChannelFailure {
    ChannelFailure {
        kind: if f.retryable { ChannelFailureKind::Retryable } else { ChannelFailureKind::Final },
        message: line(&f.message, super::MAX_MESSAGE),
        retry_after_ms: f.retry_after_ms,
        scope: match f.scope {
            wit::Scope::Conversation => FailureScope::Conversation,
            wit::Scope::Account => FailureScope::Account,
        },
        uncertain: f.uncertain,
    }
}

fn at_most(what: &str, most: usize, found: usize) -> Result<(), ChannelFailure> {
    if found <= most { Ok(()) } else { Err(broken(format!("it answered with {found} {what}; at most {most}"))) }
}

pub(crate) fn outcome(o: wit::Outcome) -> Result<Outcome, ChannelFailure> {
    at_most("bytes of state", MAX_STATE, o.state.len())?;
    at_most("messages", MAX_INBOUND, o.inbound.len())?;
    at_most("effects", MAX_EFFECTS, o.effects.len())?;
    at_most("timers", MAX_EFFECTS, o.timers.len())?;
    let inbound = o.inbound.into_iter().filter_map(inbound).collect::<Result<_, _>>()?;
    let effects = o.effects.into_iter().filter_map(effect).collect::<Result<_, _>>()?;
    let mut timers = Vec::with_capacity(o.timers.len());
    for timer in o.timers {
        id("a timer's id", &timer.id)?;
        timers.push(TimerChange { id: timer.id, after_ms: timer.after_ms, jitter_ms: timer.jitter_ms });
    }
    let link = match o.link {
        None => None,
        Some(wit::Link::Poll(p)) => {
            Some(Link::Poll { request: request(p.request)?, min_interval_ms: p.min_interval_ms })
        }
        Some(wit::Link::Idle) => Some(Link::Idle),
        Some(wit::Link::Socket(after_ms)) => Some(Link::Socket { after_ms }),
        Some(wit::Link::Fatal(why)) => Some(Link::Fatal(line(&why, super::MAX_MESSAGE))),
        Some(wit::Link::Other(what)) => {
            return Err(broken(format!("it wants a link `{}`, which this kernel does not have", line(&what, 64))));
        }
    };
    Ok(Outcome {
        state: o.state,
        inbound,
        effects,
        timers,
        link,
        response: o.response.map(|r| HttpAnswer { status: r.status, headers: r.headers, body: r.body }),
    })
}

/// None: of a later contract; nothing here could do it.
fn effect(e: wit::Effect) -> Option<Result<Effect, ChannelFailure>> {
    Some(match e {
        wit::Effect::Request(r) => request(r).map(Effect::Request),
        wit::Effect::Connect(t) => Ok(Effect::Connect(SocketTarget {
            endpoint: t.endpoint,
            address: match t.address {
                wit::SocketAddress::Path(path) => SocketAddress::Path(path),
                wit::SocketAddress::Url(url) => SocketAddress::Url(url),
                wit::SocketAddress::Handle(handle) => SocketAddress::Handle(handle),
            },
            headers: t.headers,
            ping_ms: t.ping_ms,
        })),
        wit::Effect::Frame(f) if f.text && std::str::from_utf8(&f.data).is_err() => {
            Err(broken("a frame of text is not UTF-8"))
        }
        wit::Effect::Frame(f) => Ok(Effect::Frame(Frame { socket: f.socket, text: f.text, data: f.data })),
        wit::Effect::Close(c) if c.code != 1000 && !(3000..=4999).contains(&c.code) => {
            Err(broken(format!("it closes a socket with {}; a code is 1000, or from 3000 to 4999", c.code)))
        }
        wit::Effect::Close(c) => {
            Ok(Effect::Close(Closing { socket: c.socket, code: c.code, reason: line(&c.reason, MAX_CLOSE_REASON) }))
        }
        wit::Effect::Dial => Ok(Effect::Dial),
        wit::Effect::Other(_) => return None,
    })
}

fn inbound(i: wit::Inbound) -> Option<Result<Inbound, ChannelFailure>> {
    match i {
        wit::Inbound::Message(m) => Some(message(m).map(Inbound::Message)),
        wit::Inbound::Edited(m) => Some(message(m).map(Inbound::Edited)),
        wit::Inbound::Other(_) => None,
    }
}

/// What order, dedupe and answers go by: never empty, never long, one line.
fn id(what: &str, id: &str) -> Result<(), ChannelFailure> {
    if (1..=MAX_ID).contains(&id.len()) && !id.contains(char::is_control) {
        return Ok(());
    }
    Err(broken(format!("{what} has 1 to {MAX_ID} bytes and no control characters; this one has {} bytes", id.len())))
}

fn message(m: wit::Message) -> Result<ChannelMessage, ChannelFailure> {
    id("a message's key", &m.key)?;
    // What is no message there has none: a command, a pressed button.
    if !m.id.is_empty() {
        id("a message's id", &m.id)?;
    }
    at_most("files in a message", MAX_ATTACHMENTS, m.attachments.len())?;
    if m.sender.id.len() > MAX_ID || m.sender.id.contains(char::is_control) {
        return Err(broken("a sender's id is too long, or no line"));
    }
    let conversation = Conversation {
        id: m.conversation.id,
        kind: match m.conversation.kind {
            wit::ConversationKind::Direct => ConversationKind::Direct,
            wit::ConversationKind::Group => ConversationKind::Group,
            wit::ConversationKind::Broadcast => ConversationKind::Broadcast,
        },
        thread: m.conversation.thread,
        title: m.conversation.title.map(|t| line(&t, MAX_LABEL)),
    };
    id("a conversation's id", &conversation.id)?;
    if let Some(thread) = &conversation.thread {
        id("a thread's id", thread)?;
    }
    Ok(ChannelMessage {
        key: m.key,
        id: m.id,
        conversation,
        sender: Sender {
            id: m.sender.id,
            name: line(&m.sender.name, MAX_LABEL),
            is_bot: m.sender.is_bot,
            is_me: m.sender.is_me,
        },
        text: cut(m.text),
        mentions_me: m.mentions_me,
        reply_to: m.reply_to.filter(|r| !r.is_empty() && r.len() <= MAX_ID),
        at_ms: m.at_ms,
        attachments: m
            .attachments
            .into_iter()
            .map(|a| Attachment {
                reference: a.reference,
                name: a.name.map(|n| line(&n, MAX_LABEL)),
                mime: a.mime.map(|n| line(&n, MAX_LABEL)),
                size: a.size,
            })
            .collect(),
    })
}

fn cut(text: String) -> String {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let kept = text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default();
    format!("{kept}\n[the rest of this message was left out: it had {} bytes, {MAX_TEXT} are read]", text.len())
}

fn request(r: http::Request) -> Result<KernelRequest, ChannelFailure> {
    if r.extra.iter().any(|(name, _)| name.starts_with("blob")) {
        return Err(broken("a request that the kernel sends later holds no blob"));
    }
    Ok(KernelRequest {
        method: r.method,
        target: match r.target {
            http::Target::Endpoint((name, path)) => KernelTarget::Endpoint(name, path),
            http::Target::Handle(handle) => KernelTarget::Handle(handle),
            http::Target::Public(url) => KernelTarget::Public(url),
        },
        headers: r.headers,
        body: match r.body {
            http::Body::None => None,
            http::Body::Bytes(bytes) => Some(bytes),
        },
        timeout_ms: r.timeout_ms,
    })
}

pub(crate) fn target(t: KernelTarget) -> http::Target {
    match t {
        KernelTarget::Endpoint(name, path) => http::Target::Endpoint((name, path)),
        KernelTarget::Handle(handle) => http::Target::Handle(handle),
        KernelTarget::Public(url) => http::Target::Public(url),
    }
}

pub(crate) fn event(e: &Event) -> wit::Event {
    match e {
        Event::Item(i) => wit::Event::Item(wit::Item { cursor: i.cursor.clone(), data: i.data.clone() }),
        Event::PassedOver(cursor) => wit::Event::PassedOver(cursor.clone()),
        Event::Timer(id) => wit::Event::Timer(id.clone()),
        Event::Webhook(w) => wit::Event::Webhook(webhook(w.clone())),
        Event::Dial(d) => wit::Event::Dial(wit::Dial {
            reason: d.reason.as_str().to_owned(),
            failures: d.failures,
            status: d.status,
            open: d.open.clone(),
        }),
        Event::Opened(socket) => wit::Event::Opened(*socket),
        Event::Frame(f) => wit::Event::Frame(wit::Frame { socket: f.socket, text: f.text, data: f.data.clone() }),
        Event::Closed(c) => {
            wit::Event::Closed(wit::Closed { socket: c.socket, code: c.code, reason: c.reason.clone() })
        }
        Event::Line(l) => {
            wit::Event::Line(wit::Line { client: l.client.clone(), id: l.id.clone(), text: l.text.clone() })
        }
    }
}

fn webhook(w: WebhookRequest) -> wit::WebhookRequest {
    let WebhookRequest { webhook, method, query, headers, body } = w;
    wit::WebhookRequest { webhook, method, query, headers, body }
}

pub(crate) fn poll_response(a: HttpAnswer) -> wit::PollResponse {
    wit::PollResponse { status: a.status, headers: a.headers, body: a.body }
}

pub(crate) fn items(items: Vec<wit::Item>) -> Result<Vec<Item>, ChannelFailure> {
    for item in &items {
        id("an item's cursor", &item.cursor)?;
    }
    Ok(items.into_iter().map(|i| Item { cursor: i.cursor, data: i.data }).collect())
}

pub(crate) fn conversation(c: &Conversation) -> wit::Conversation {
    wit::Conversation {
        id: c.id.clone(),
        kind: match c.kind {
            ConversationKind::Direct => wit::ConversationKind::Direct,
            ConversationKind::Group => wit::ConversationKind::Group,
            ConversationKind::Broadcast => wit::ConversationKind::Broadcast,
        },
        thread: c.thread.clone(),
        title: c.title.clone(),
    }
}

pub(crate) fn attachment(a: Attachment) -> wit::Attachment {
    let Attachment { reference, name, mime, size } = a;
    wit::Attachment { reference, name, mime, size, extra: Vec::new() }
}

/// What a tool of a channel is told of the conversation that it is called in.
pub(crate) fn place(place: Option<&Place>) -> Vec<(String, String)> {
    let Some(place) = place else { return Vec::new() };
    let there = [
        ("conversation", Some(&place.conversation.id)),
        ("thread", place.conversation.thread.as_ref()),
        ("message", place.message.as_ref()),
        ("reply-to", place.reply_to.as_ref()),
        ("last-sent", place.last_sent.as_ref()),
    ];
    let kind = ("conversation-kind".to_owned(), place.conversation.kind.as_str().to_owned());
    let ids = there.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id?.clone())));
    ids.chain([kind]).collect()
}

pub(crate) fn said(c: Content) -> wit::Content {
    let file = |m: Media| wit::File { name: m.file_name(), blob: m.id, mime: m.mime, size: m.size };
    let files = c.files.into_iter().map(file).collect();
    let extra = c.about.map(|id| ("message".to_owned(), id)).into_iter().collect();
    wit::Content { text: c.text, reply_to: c.reply_to, files, extra }
}

pub(crate) fn parts(parts: Vec<wit::Part>) -> Result<Vec<RenderedPart>, ChannelFailure> {
    at_most("parts", MAX_PARTS, parts.len())?;
    for part in &parts {
        at_most("bytes in a part", MAX_PART, part.data.len())?;
    }
    Ok(parts.into_iter().map(|p| RenderedPart { text: p.text, data: p.data }).collect())
}

pub(crate) fn outgoing(o: Outgoing) -> wit::Outgoing {
    wit::Outgoing {
        conversation: conversation(&o.conversation),
        part: wit::Part { text: o.part.text, data: o.part.data },
        key: o.key,
        attempt: o.attempt,
    }
}

pub(crate) fn receipt(r: &wit::Receipt) -> String {
    line(&r.id, MAX_ID)
}
