//! The types of the `channel` interface.

use carapace_runtime::bindings::{channel as wit, http};
use carapace_sdk::__private::wit_channel as sdk;
use carapace_sdk::testing::protocol::{ChannelAnswer, ChannelCall};

/// A call's arguments, or an answer's value, as the other crate's type of the same fields.
macro_rules! same {
    ($value:expr => $type:path { $($field:ident),+ $(; $($with:ident: $convert:expr),+)? }) => {{
        let value = $value;
        $type { $($field: value.$field,)+ $($($with: $convert(value.$with),)+)? }
    }};
}

fn conversation(c: sdk::Conversation) -> wit::Conversation {
    let kind = |k| match k {
        sdk::ConversationKind::Direct => wit::ConversationKind::Direct,
        sdk::ConversationKind::Group => wit::ConversationKind::Group,
        sdk::ConversationKind::Broadcast => wit::ConversationKind::Broadcast,
    };
    same!(c => wit::Conversation { id, thread, title; kind: kind })
}

fn part(p: sdk::Part) -> wit::Part {
    same!(p => wit::Part { text, data })
}

pub(crate) fn event(e: sdk::Event) -> wit::Event {
    match e {
        sdk::Event::Item(i) => wit::Event::Item(same!(i => wit::Item { cursor, data })),
        sdk::Event::PassedOver(cursor) => wit::Event::PassedOver(cursor),
        sdk::Event::Timer(id) => wit::Event::Timer(id),
        sdk::Event::Webhook(w) => {
            wit::Event::Webhook(same!(w => wit::WebhookRequest { webhook, method, query, headers, body }))
        }
        sdk::Event::Dial(d) => wit::Event::Dial(same!(d => wit::Dial { reason, failures, status, open })),
        sdk::Event::Opened(socket) => wit::Event::Opened(socket),
        sdk::Event::Frame(f) => wit::Event::Frame(same!(f => wit::Frame { socket, text, data })),
        sdk::Event::Closed(c) => wit::Event::Closed(same!(c => wit::Closed { socket, code, reason })),
        sdk::Event::Line(l) => wit::Event::Line(same!(l => wit::Line { client, id, text })),
        sdk::Event::Other(other) => wit::Event::Other(other),
    }
}

fn failure(f: wit::Failure) -> sdk::Failure {
    let scope = |s| match s {
        wit::Scope::Conversation => sdk::Scope::Conversation,
        wit::Scope::Account => sdk::Scope::Account,
    };
    same!(f => sdk::Failure { message, retryable, retry_after_ms, uncertain; scope: scope })
}

fn description(d: wit::Description) -> sdk::Description {
    let unit = |u| match u {
        wit::TextUnit::Bytes => sdk::TextUnit::Bytes,
        wit::TextUnit::Utf16 => sdk::TextUnit::Utf16,
        wit::TextUnit::Scalars => sdk::TextUnit::Scalars,
    };
    let typing = |t: Option<wit::TypingSupport>| t.map(|t| same!(t => sdk::TypingSupport { lasts_ms, stops }));
    let edits = |e: Option<wit::EditSupport>| e.map(|e| same!(e => sdk::EditSupport { direct_ms, group_ms }));
    same!(d => sdk::Description {
        text_limit, key_window_s, file_limit, extra; text_unit: unit, typing: typing, edits: edits })
}

fn message(m: wit::Message) -> sdk::Message {
    let kind = |k| match k {
        wit::ConversationKind::Direct => sdk::ConversationKind::Direct,
        wit::ConversationKind::Group => sdk::ConversationKind::Group,
        wit::ConversationKind::Broadcast => sdk::ConversationKind::Broadcast,
    };
    let conversation = |c: wit::Conversation| same!(c => sdk::Conversation { id, thread, title; kind: kind });
    let sender = |s: wit::Sender| same!(s => sdk::Sender { id, name, is_bot, is_me });
    let files = |list: Vec<wit::Attachment>| {
        list.into_iter().map(|a| same!(a => sdk::Attachment { reference, name, mime, size, extra })).collect()
    };
    same!(m => sdk::Message {
        key, id, text, mentions_me, reply_to, at_ms, extra; conversation: conversation, sender: sender, attachments: files })
}

fn request(r: http::Request) -> sdk::Request {
    carapace_sdk::__private::request_of(super::outgoing(r))
}

fn outcome(o: wit::Outcome) -> sdk::Outcome {
    let inbound = o.inbound.into_iter().map(|i| match i {
        wit::Inbound::Message(m) => sdk::Inbound::Message(message(m)),
        wit::Inbound::Edited(m) => sdk::Inbound::Edited(message(m)),
        wit::Inbound::Other(other) => sdk::Inbound::Other(other),
    });
    let effects = o.effects.into_iter().map(|e| match e {
        wit::Effect::Request(r) => sdk::Effect::Request(request(r)),
        wit::Effect::Connect(t) => {
            let address = |a| match a {
                wit::SocketAddress::Path(path) => sdk::SocketAddress::Path(path),
                wit::SocketAddress::Url(url) => sdk::SocketAddress::Url(url),
                wit::SocketAddress::Handle(handle) => sdk::SocketAddress::Handle(handle),
            };
            sdk::Effect::Connect(same!(t => sdk::SocketTarget { endpoint, headers, ping_ms, extra; address: address }))
        }
        wit::Effect::Frame(f) => sdk::Effect::Frame(same!(f => sdk::Frame { socket, text, data })),
        wit::Effect::Close(c) => sdk::Effect::Close(same!(c => sdk::Closing { socket, code, reason })),
        wit::Effect::Dial => sdk::Effect::Dial,
        wit::Effect::Other(other) => sdk::Effect::Other(other),
    });
    let link = o.link.map(|l| match l {
        wit::Link::Poll(p) => sdk::Link::Poll(same!(p => sdk::Poll { min_interval_ms; request: request })),
        wit::Link::Idle => sdk::Link::Idle,
        wit::Link::Socket(after_ms) => sdk::Link::Socket(after_ms),
        wit::Link::Fatal(why) => sdk::Link::Fatal(why),
        wit::Link::Other(other) => sdk::Link::Other(other),
    });
    sdk::Outcome {
        state: o.state,
        inbound: inbound.collect(),
        effects: effects.collect(),
        timers: o.timers.into_iter().map(|t| same!(t => sdk::Timer { id, after_ms, jitter_ms })).collect(),
        link,
        response: o.response.map(|r| same!(r => sdk::WebhookResponse { status, headers, body })),
        extra: o.extra,
    }
}

/// Calls a channel as `call` says.
pub(crate) async fn call(
    loaded: &carapace_runtime::Loaded<crate::imports::State>,
    state: crate::imports::State,
    call: ChannelCall,
) -> Result<ChannelAnswer, carapace_runtime::CallError> {
    let admission = carapace_runtime::Admission::new(carapace_runtime::Class::Ingress);
    Ok(match call {
        ChannelCall::Describe => {
            ChannelAnswer::Description(description(loaded.describe_channel(state, admission).await?))
        }
        ChannelCall::Start { state: kept } => {
            let answer = loaded.start_channel(state, admission, kept).await?;
            ChannelAnswer::Outcome(Box::new(answer.map(outcome).map_err(failure)))
        }
        ChannelCall::Event { state: kept, event: e, attempt } => {
            let answer = loaded.channel_event(state, admission, kept, event(e), attempt).await?;
            ChannelAnswer::Outcome(Box::new(answer.map(outcome).map_err(failure)))
        }
        ChannelCall::Split(r) => {
            let response = same!(r => wit::PollResponse { status, headers, body });
            let answer = loaded.split_poll(state, admission, response).await?;
            let items =
                |items: Vec<wit::Item>| items.into_iter().map(|i| same!(i => sdk::Item { cursor, data })).collect();
            ChannelAnswer::Items(answer.map(items).map_err(failure))
        }
        ChannelCall::Render(c, content) => {
            let files = |files: Vec<sdk::File>| {
                files.into_iter().map(|f| same!(f => wit::File { blob, name, mime, size })).collect()
            };
            let content = same!(content => wit::Content { text, reply_to, extra; files: files });
            let answer = loaded.render_content(state, admission, conversation(c), content).await?;
            let parts =
                |parts: Vec<wit::Part>| parts.into_iter().map(|p| same!(p => sdk::Part { text, data })).collect();
            ChannelAnswer::Parts(answer.map(parts).map_err(failure))
        }
        ChannelCall::Send(o) => {
            let outgoing = same!(o => wit::Outgoing { key, attempt; conversation: conversation, part: part });
            let answer = loaded.send_part(state, admission, outgoing).await?;
            ChannelAnswer::Receipt(answer.map(|r| same!(r => sdk::Receipt { id, extra })).map_err(failure))
        }
        ChannelCall::Edit(o, id) => {
            let outgoing = same!(o => wit::Outgoing { key, attempt; conversation: conversation, part: part });
            ChannelAnswer::Done(loaded.edit_part(state, admission, outgoing, id).await?.map_err(failure))
        }
        ChannelCall::Typing(c, on) => {
            ChannelAnswer::Done(loaded.show_typing(state, admission, conversation(c), on).await?.map_err(failure))
        }
        ChannelCall::FetchMedia(a) => {
            let attachment = same!(a => wit::Attachment { reference, name, mime, size, extra });
            ChannelAnswer::Media(loaded.fetch_media(state, admission, attachment).await?.map_err(failure))
        }
    })
}
