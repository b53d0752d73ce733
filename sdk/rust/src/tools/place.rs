//! Where a tool of a channel is called.

use super::Context;
use crate::channel::{Conversation, ConversationKind};

/// A conversation of the component's own channel, and messages in it that a tool may be about; ids are the platform's.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Which.
    pub conversation: Conversation,
    /// The message that is being answered.
    pub message: Option<String>,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// What was last said there, by an answer.
    pub last_sent: Option<String>,
}

impl Context {
    /// Where the call takes place; none if that is no conversation of this component's channel.
    pub fn place(&self) -> Option<Place> {
        let told = |name: &str| self.extra.iter().find(|(n, _)| n == name).map(|(_, id)| id.clone());
        let kind = match told("conversation-kind")?.as_str() {
            "group" => ConversationKind::Group,
            "broadcast" => ConversationKind::Broadcast,
            _ => ConversationKind::Direct,
        };
        let conversation = Conversation { id: told("conversation")?, kind, thread: told("thread"), title: None };
        let (message, reply_to, last_sent) = (told("message"), told("reply-to"), told("last-sent"));
        Some(Place { conversation, message, reply_to, last_sent })
    }

    /// The place that a tool is asked to act in: the conversation with the id `named`, of which nothing more is known, or else
    /// [its own](Self::place). Naming its own is naming none.
    pub fn place_or(&self, named: Option<&str>) -> Option<Place> {
        let own = self.place();
        match named {
            Some(id) if own.as_ref().is_none_or(|p| p.conversation.id != id) => {
                let conversation = Conversation::group(id, None);
                Some(Place { conversation, message: None, reply_to: None, last_sent: None })
            }
            _ => own,
        }
    }
}

/// What the kernel tells of it.
#[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "only a test host tells"))]
pub(crate) fn told(conversation: &Conversation, known: &[(&str, &str)]) -> Vec<(String, String)> {
    let kind = match conversation.kind {
        ConversationKind::Direct => "direct",
        ConversationKind::Group => "group",
        ConversationKind::Broadcast => "broadcast",
    };
    let mut told = vec![("conversation".to_owned(), conversation.id.clone())];
    told.extend(conversation.thread.iter().map(|t| ("thread".to_owned(), t.clone())));
    told.push(("conversation-kind".to_owned(), kind.to_owned()));
    told.extend(known.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_another_conversation_than_its_own_nothing_is_known() {
        let here = Conversation { thread: Some("9".to_owned()), ..Conversation::group("C1", None) };
        let extra = told(&here, &[("message", "5"), ("last-sent", "6")]);
        let context = |extra| Context { call_id: String::new(), session: String::new(), timezone: None, extra };
        let own = context(extra.clone()).place();
        assert_eq!(
            (own.as_ref().unwrap().last_sent.as_deref(), &own.as_ref().unwrap().conversation),
            (Some("6"), &here)
        );
        assert_eq!(context(extra.clone()).place_or(None), own);
        assert_eq!(context(extra.clone()).place_or(Some("C1")), own);
        let other = context(extra).place_or(Some("C2")).unwrap();
        assert_eq!((other.conversation, other.message, other.last_sent), (Conversation::group("C2", None), None, None));
        assert_eq!(context(Vec::new()).place_or(Some("C2")).unwrap().conversation.id, "C2");
        assert_eq!(context(Vec::new()).place_or(None), None);
    }
}
