//! Who may talk through a channel, and how.

use crate::names::InstanceKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `channels`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelsSection {
    /// Where the assistant may send messages when you ask, by the name you give it; `owner` is you, wherever you last wrote directly.
    pub targets: BTreeMap<String, Target>,
}

/// One of `channels.targets`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// Through which channel: a key of `instances`.
    #[schemars(with = "String")]
    pub instance: InstanceKey,
    /// The platform's id of the conversation.
    #[schemars(length(min = 1, max = 256))]
    pub conversation: String,
    /// The platform's id of a thread or topic in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    pub thread: Option<String>,
}

/// `instances.<key>.channel`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelPolicy {
    /// Direct messages: `pairing` gives a stranger a code and nothing else, `listed` gives them nothing, `off` answers nobody.
    pub direct: Direct,
    /// Groups: `mention` answers what names the assistant, `always` everything, `off` nothing.
    pub groups: Groups,
    /// The owner's own ids on the platform: what they write counts as the owner's word.
    pub owner: BTreeSet<String>,
    /// Ids of people who may talk without pairing.
    pub allow: BTreeSet<String>,
    /// Ids of groups in which every member may talk; `*` = every group, of whoever brings the assistant into one.
    pub group_allow: BTreeSet<String>,
    /// What a direct message continues: `peer` a conversation per person, `conversation` one per place on the platform, `main` (for the
    /// owner) the one of the terminal and the page. Never one that somebody else writes in.
    pub session: SessionScope,
    /// What happens to a part of which nobody knows whether it arrived: `ask` the owner, `resend`, `drop`.
    pub uncertain: Uncertain,
    /// An answer is shown while it grows, where the platform lets a message be changed.
    pub drafts: bool,
}

impl Default for ChannelPolicy {
    fn default() -> Self {
        Self {
            direct: Direct::default(),
            groups: Groups::default(),
            owner: BTreeSet::new(),
            allow: BTreeSet::new(),
            group_allow: BTreeSet::new(),
            session: SessionScope::default(),
            uncertain: Uncertain::default(),
            drafts: true,
        }
    }
}

/// `channel.direct`. The comments stay off the variants, so that the schema is one plain list of words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "described on the key")]
pub enum Direct {
    #[default]
    Pairing,
    Listed,
    Off,
}

/// `channel.groups`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "described on the key")]
pub enum Groups {
    #[default]
    Mention,
    Always,
    Off,
}

/// `channel.session`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "described on the key")]
pub enum SessionScope {
    #[default]
    Peer,
    Conversation,
    Main,
}

/// `channel.uncertain`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "described on the key")]
pub enum Uncertain {
    #[default]
    Ask,
    Resend,
    Drop,
}
