//! Who may talk: the one place that decides whether a message becomes a turn.

use carapace_config::{ChannelPolicy, Direct, Groups};
use carapace_contract::channel::{ChannelMessage, ConversationKind};
use carapace_contract::decision::Origin;

/// What somebody is to a channel, beside what its configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acquaintance {
    /// The owner paired them.
    Paired,
    /// The owner paired themselves.
    Owner,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// A turn, with this origin.
    Turn(Origin),
    /// A stranger writes directly: a pairing code, if there is one to give.
    Pairing,
    /// Nothing; the word says why, for the counters.
    Nothing(&'static str),
}

/// Decides. Everything that it looks at is what the component says: a claim through that component, which its consent text names.
pub(crate) fn rule(policy: &ChannelPolicy, known: Option<Acquaintance>, message: &ChannelMessage) -> Ruling {
    let sender = &message.sender;
    if sender.id.is_empty() {
        return Ruling::Nothing("no-sender");
    }
    // Two assistants in one group would talk to each other until the money is gone.
    if sender.is_me {
        return Ruling::Nothing("own");
    }
    if sender.is_bot {
        return Ruling::Nothing("bot");
    }
    if message.text.trim().is_empty() && message.attachments.is_empty() {
        return Ruling::Nothing("empty");
    }
    let owner = policy.owner.contains(&sender.id) || known == Some(Acquaintance::Owner);
    let listed = policy.allow.contains(&sender.id) || known.is_some();
    match message.conversation.kind {
        ConversationKind::Direct => match policy.direct {
            Direct::Off => Ruling::Nothing("off"),
            _ if owner => Ruling::Turn(Origin::Owner),
            _ if listed => Ruling::Turn(Origin::PairedUser),
            Direct::Listed => Ruling::Nothing("stranger"),
            Direct::Pairing => Ruling::Pairing,
        },
        ConversationKind::Group | ConversationKind::Broadcast => match policy.groups {
            Groups::Off => Ruling::Nothing("off"),
            Groups::Mention if !message.mentions_me => Ruling::Nothing("no-mention"),
            _ if owner => Ruling::Turn(Origin::Owner),
            // Others read along, and wrote what stands in the conversation before: nobody here has the standing they have alone.
            _ if listed => Ruling::Turn(Origin::GroupMember),
            _ if policy.group_allow.contains(&message.conversation.id) || policy.group_allow.contains("*") => {
                Ruling::Turn(Origin::GroupMember)
            }
            _ => Ruling::Nothing("stranger"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::channel::{Conversation, Sender};
    use proptest::prelude::*;

    fn message(kind: ConversationKind, sender: &str, mentions_me: bool) -> ChannelMessage {
        ChannelMessage {
            key: "k".into(),
            id: "m".into(),
            conversation: Conversation { id: "room".into(), kind, thread: None, title: None },
            sender: Sender { id: sender.into(), name: "N".into(), is_bot: false, is_me: false },
            text: "hi".into(),
            mentions_me,
            reply_to: None,
            at_ms: None,
            attachments: Vec::new(),
        }
    }

    fn policy() -> ChannelPolicy {
        ChannelPolicy { owner: ["1".into()].into(), allow: ["2".into()].into(), ..ChannelPolicy::default() }
    }

    #[test]
    fn direct_messages_are_answered_to_those_who_are_known() {
        let mut p = policy();
        let direct = |sender: &str| message(ConversationKind::Direct, sender, false);
        assert_eq!(rule(&p, None, &direct("1")), Ruling::Turn(Origin::Owner));
        assert_eq!(rule(&p, None, &direct("2")), Ruling::Turn(Origin::PairedUser));
        assert_eq!(rule(&p, None, &direct("3")), Ruling::Pairing);
        assert_eq!(rule(&p, Some(Acquaintance::Paired), &direct("3")), Ruling::Turn(Origin::PairedUser));
        assert_eq!(rule(&p, Some(Acquaintance::Owner), &direct("3")), Ruling::Turn(Origin::Owner));
        p.direct = Direct::Listed;
        assert_eq!(rule(&p, None, &direct("3")), Ruling::Nothing("stranger"));
        p.direct = Direct::Off;
        assert_eq!(rule(&p, None, &direct("1")), Ruling::Nothing("off"));
    }

    #[test]
    fn a_group_needs_a_mention_and_somebody_known_or_a_group_that_is_listed() {
        let mut p = policy();
        let group = |sender: &str, mention| message(ConversationKind::Group, sender, mention);
        assert_eq!(rule(&p, None, &group("1", false)), Ruling::Nothing("no-mention"));
        assert_eq!(rule(&p, None, &group("1", true)), Ruling::Turn(Origin::Owner));
        assert_eq!(rule(&p, None, &group("2", true)), Ruling::Turn(Origin::GroupMember));
        assert_eq!(
            rule(&p, None, &group("3", true)),
            Ruling::Nothing("stranger"),
            "a stranger brought it into a group"
        );
        p.group_allow.insert("room".into());
        assert_eq!(rule(&p, None, &group("3", true)), Ruling::Turn(Origin::GroupMember));
        p.groups = Groups::Always;
        assert_eq!(rule(&p, None, &group("3", false)), Ruling::Turn(Origin::GroupMember));
        p.groups = Groups::Off;
        assert_eq!(rule(&p, None, &group("1", true)), Ruling::Nothing("off"));
    }

    proptest! {
        #[test]
        fn nobody_without_a_name_no_bot_and_no_echo_ever_gets_a_turn(
            kind in prop_oneof![Just(ConversationKind::Direct), Just(ConversationKind::Group), Just(ConversationKind::Broadcast)],
            which in 0..4, mention: bool, always: bool, known in proptest::option::of(Just(Acquaintance::Owner)),
        ) {
            let mut p = policy();
            p.group_allow.insert("*".into());
            if always {
                p.groups = Groups::Always;
            }
            let mut m = message(kind, "1", mention);
            match which {
                0 => m.sender.id.clear(),
                1 => m.sender.is_bot = true,
                2 => m.sender.is_me = true,
                _ => m.text = " \n".into(),
            }
            prop_assert!(matches!(rule(&p, known, &m), Ruling::Nothing(_)));
        }
    }
}
