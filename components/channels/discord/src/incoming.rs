//! Messages: <https://docs.discord.com/developers/resources/message#message-object>.

use crate::{media, places};
use carapace_sdk::channel::{Attachment, Failure, Message as Said, Sender};
use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Message {
    id: String,
    channel_id: String,
    guild_id: Option<String>,
    author: Option<User>,
    member: Option<Member>,
    content: String,
    edited_timestamp: Option<String>,
    r#type: u32,
    webhook_id: Option<String>,
    mentions: Vec<User>,
    attachments: Vec<File>,
    sticker_items: Vec<Sticker>,
    referenced_message: Option<Box<Self>>,
    message_snapshots: Vec<Snapshot>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(crate) struct User {
    pub(crate) id: String,
    username: String,
    global_name: Option<String>,
    bot: bool,
    system: bool,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(crate) struct Member {
    pub(crate) nick: Option<String>,
    pub(crate) user: Option<User>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    id: String,
    filename: String,
    content_type: Option<String>,
    size: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sticker {
    name: String,
}

/// A message that was forwarded.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Snapshot {
    message: Box<Message>,
}

impl User {
    pub(crate) fn sender(self, nick: Option<String>, me: &str) -> Sender {
        let name = nick.or(self.global_name).unwrap_or(self.username);
        Sender { is_me: self.id == me, is_bot: self.bot || self.system, id: self.id, name }
    }

    fn name(&self) -> &str {
        self.global_name.as_deref().unwrap_or(&self.username)
    }
}

/// What somebody said; none if it is something else, such as that they joined.
pub(crate) fn said(m: Message, me: &str) -> Result<Option<Said>, Failure> {
    /// A message, and one that answers another.
    const SPOKEN: [u32; 2] = [0, 19];
    let Some(author) = m.author.filter(|_| SPOKEN.contains(&m.r#type) && !m.id.is_empty()) else { return Ok(None) };
    let answered = m.referenced_message.as_deref();
    let answers_me = answered.and_then(|r| r.author.as_ref()).is_some_and(|a| a.id == me);
    let mentions_me = answers_me || m.mentions.iter().any(|u| u.id == me);
    let mut sender = author.sender(m.member.and_then(|m| m.nick), me);
    // What posts by a webhook has a name of its own choosing, and is nobody.
    sender.is_bot |= m.webhook_id.is_some();
    let mut text = plain(&m.content, &m.mentions);
    for snapshot in &m.message_snapshots {
        let forwarded = plain(&snapshot.message.content, &snapshot.message.mentions);
        text = format!("{text}\n[Forwarded:]\n{forwarded}").trim().to_owned();
    }
    if text.is_empty()
        && let Some(sticker) = m.sticker_items.first()
    {
        text = format!("[sticker {}]", sticker.name);
    }
    let direct = m.guild_id.is_none();
    // What will not be answered anyway is not looked up: without the intent to read everything, only mentions have a text.
    let plainly = direct || sender.is_bot || sender.is_me || (text.is_empty() && m.attachments.is_empty());
    let conversation = if plainly { places::plain(&m.channel_id, direct) } else { places::find(&m.channel_id)? };
    let forwarded = m.message_snapshots.into_iter().flat_map(|s| s.message.attachments);
    let file = |f: File| Attachment {
        // Its address is signed for a day; it can be had from the message for ever.
        reference: media::reference(&m.channel_id, &m.id, &f.id),
        name: Some(f.filename),
        mime: f.content_type,
        size: f.size,
        extra: Vec::new(),
    };
    Ok(Some(Said {
        key: m.id.clone(),
        conversation,
        sender,
        text,
        mentions_me,
        reply_to: answered.map(|r| r.id.clone()),
        at_ms: milliseconds(&m.id),
        attachments: m.attachments.into_iter().chain(forwarded).map(file).collect(),
        id: m.id,
        extra: Vec::new(),
    }))
}

/// What somebody changed. That Discord added a preview is no change of theirs.
pub(crate) fn edited(m: Message, me: &str) -> Result<Option<Said>, Failure> {
    let Some(at) = m.edited_timestamp.clone() else { return Ok(None) };
    let said = said(m, me)?;
    Ok(said.map(|s| Said { key: format!("edit:{}:{at}", s.key), ..s }))
}

/// As a person reads it: <https://docs.discord.com/developers/reference#message-formatting>.
fn plain(content: &str, mentions: &[User]) -> String {
    let mut out = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.find('<') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let inside = after.find('>').and_then(|end| after.get(1..end));
        let shown = inside.and_then(|inside| {
            if let Some(id) = inside.strip_prefix("@!").or_else(|| inside.strip_prefix('@')) {
                return mentions.iter().find(|u| u.id == id).map(|u| format!("@{}", u.name()));
            }
            // `<:name:id>`, `<a:name:id>`
            let emoji = inside.strip_prefix("a:").or_else(|| inside.strip_prefix(':'))?;
            let (name, id) = emoji.split_once(':')?;
            id.bytes().all(|b| b.is_ascii_digit()).then(|| format!(":{name}:"))
        });
        match (shown, inside) {
            (Some(shown), Some(inside)) => {
                out.push_str(&shown);
                rest = after.get(inside.len() + 2..).unwrap_or_default();
            }
            _ => {
                out.push('<');
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

/// When an id was made: <https://docs.discord.com/developers/reference#snowflakes>.
fn milliseconds(id: &str) -> Option<u64> {
    Some((id.parse::<u64>().ok()? >> 22) + 1_420_070_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_and_emoji_are_read_as_a_person_reads_them() {
        let ann = User { id: "7".into(), username: "ann1".into(), global_name: Some("Ann".into()), ..User::default() };
        for (discord, read) in [
            ("<@7> and <@!7> and <@8> and <#5>", "@Ann and @Ann and <@8> and <#5>"),
            ("<:crab:1234> <a:wave:5> <:no> 1 < 2 <", ":crab: :wave: <:no> 1 < 2 <"),
        ] {
            assert_eq!(plain(discord, std::slice::from_ref(&ann)), read);
        }
        assert_eq!(milliseconds("175928847299117063"), Some(1_462_015_105_796));
    }
}
