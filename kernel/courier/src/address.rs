//! Which conversation of the assistant's a message continues.

use carapace_config::SessionScope;
use carapace_contract::channel::{ChannelMessage, ConversationKind};
use carapace_contract::{Digest, InstanceId};
use std::fmt::Write as _;

/// The conversation of the terminal and the page.
const MAIN: &str = "main";
/// The longest session key that the assistant takes, characters.
const LONGEST: usize = 256;

/// The session key of a message. Two people never share one, but in a group, where they share the conversation itself.
pub(crate) fn session(instance: &InstanceId, message: &ChannelMessage, scope: SessionScope, owner: bool) -> String {
    let conversation = &message.conversation;
    let (kind, id) = match conversation.kind {
        ConversationKind::Direct if owner && scope == SessionScope::Main => return MAIN.to_owned(),
        // A place where two people are said to write to the assistant alone is told apart by who writes.
        ConversationKind::Direct if scope == SessionScope::Conversation => {
            ("direct", format!("{}/{}", plain(&conversation.id), plain(&message.sender.id)))
        }
        ConversationKind::Direct => ("direct", plain(&message.sender.id)),
        ConversationKind::Group => ("group", plain(&conversation.id)),
        ConversationKind::Broadcast => ("broadcast", plain(&conversation.id)),
    };
    let thread = conversation.thread.as_deref().map(|t| format!("#{}", plain(t))).unwrap_or_default();
    let rest = format!("{id}{thread}");
    let key = format!("{instance}/{kind}/{rest}");
    if key.len() <= LONGEST {
        return key;
    }
    // `=` stands in no key that is spelled out.
    let digest: String = Digest::of(rest.as_bytes()).hex().chars().take(40).collect();
    format!("{instance}/{kind}/={digest}")
}

/// An id as part of a key: whatever is not a plain character is written as its bytes, so that two ids never look alike.
fn plain(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b'+' | b':') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::channel::{Conversation, Sender};
    use proptest::prelude::*;

    fn message(kind: ConversationKind, id: &str, thread: Option<&str>, sender: &str) -> ChannelMessage {
        ChannelMessage {
            key: "k".into(),
            id: "m".into(),
            conversation: Conversation { id: id.into(), kind, thread: thread.map(str::to_owned), title: None },
            sender: Sender { id: sender.into(), name: String::new(), is_bot: false, is_me: false },
            text: String::new(),
            mentions_me: false,
            reply_to: None,
            at_ms: None,
            attachments: Vec::new(),
        }
    }

    fn chat() -> InstanceId {
        "local/chat/main".parse().unwrap()
    }

    #[test]
    fn only_the_owner_continues_the_conversation_of_the_terminal() {
        let m = message(ConversationKind::Direct, "c", None, "7");
        assert_eq!(session(&chat(), &m, SessionScope::Main, true), "main");
        assert_eq!(session(&chat(), &m, SessionScope::Main, false), "local/chat/main/direct/7");
        assert_eq!(session(&chat(), &m, SessionScope::Peer, true), "local/chat/main/direct/7");
        assert_eq!(session(&chat(), &m, SessionScope::Conversation, true), "local/chat/main/direct/c/7");
        let m = message(ConversationKind::Group, "g", Some("t"), "7");
        assert_eq!(session(&chat(), &m, SessionScope::Main, true), "local/chat/main/group/g#t");
    }

    fn kind() -> impl Strategy<Value = ConversationKind> {
        prop_oneof![Just(ConversationKind::Direct), Just(ConversationKind::Group), Just(ConversationKind::Broadcast)]
    }

    fn id() -> impl Strategy<Value = String> {
        prop_oneof!["[a-c/#%=:]{1,4}", "\\PC{1,90}", "[\u{0}-\u{20}]{1,3}"]
    }

    proptest! {
        #[test]
        fn two_people_never_share_a_conversation_and_every_key_is_taken(
            kind in kind(), a in (id(), id(), proptest::option::of(id())), b in (id(), id(), proptest::option::of(id())),
            by_place: bool,
        ) {
            let scope = if by_place { SessionScope::Conversation } else { SessionScope::Peer };
            let key = |(place, sender, thread): &(String, String, Option<String>)| {
                session(&chat(), &message(kind, place, thread.as_deref(), sender), scope, false)
            };
            let (x, y) = (key(&a), key(&b));
            prop_assert!(!x.is_empty() && x.chars().count() <= 256 && x.len() <= 512 && !x.chars().any(char::is_control), "{}", x);
            let (who, other) = match kind {
                ConversationKind::Direct => (&a.1, &b.1),
                _ => (&a.0, &b.0),
            };
            if who != other || a.2 != b.2 {
                prop_assert_ne!(x, y);
            }
        }
    }
}
