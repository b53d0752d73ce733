//! Messages that are no answers: to the owner, and to whom the owner's configuration names. They wait in the outbox like any other.

use crate::answer::{Say, WORTH_MS};
use crate::courier::{Courier, Inner};
use crate::pairing::Pairing;
use crate::policy::Acquaintance;
use async_trait::async_trait;
use carapace_contract::InstanceId;
use carapace_contract::channel::{ChannelFailureKind, Content, Conversation, ConversationKind, Place};
use carapace_contract::ports::{Messages, OWNER_TARGET, Unsendable};
use carapace_store::Batch;

impl Inner {
    /// Whether somebody is the owner of an instance.
    pub(crate) fn is_owner(&self, instance: &InstanceId, sender: &str) -> bool {
        let known = Pairing::known(&self.pairing, instance, sender);
        known == Some(Acquaintance::Owner) || self.policy(instance).owner.contains(sender)
    }

    /// Where a target is.
    async fn target(&self, name: &str) -> Result<(InstanceId, Conversation), Unsendable> {
        let loaded = self.channels.channels();
        if name == OWNER_TARGET {
            let places = self.store.places().await.map_err(|e| Unsendable::Unavailable(e.to_string()))?;
            let mut places = places.into_iter().filter(|p| self.is_owner(&p.instance, &p.sender));
            let place = places.find(|p| loaded.iter().any(|c| c.instance == p.instance));
            let found = place.and_then(|p| Some((p.instance, serde_json::from_value(p.conversation).ok()?)));
            return found.ok_or_else(|| {
                let why = "the owner has not written directly through any channel yet, so there is nowhere to write to";
                Unsendable::Unavailable(why.to_owned())
            });
        }
        let config = self.config.current();
        let targets = &config.channels.targets;
        let Some(target) = targets.get(name) else {
            let mut names = vec![OWNER_TARGET];
            names.extend(targets.keys().map(String::as_str));
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Unsendable::NotFound(format!(
                "there is no target `{shown}`; there is {}. The owner adds one in carapace.json5: channels: {{ targets: {{ … }} }}",
                names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
            )));
        };
        let Some(channel) = loaded.iter().find(|c| target.instance.matches(&c.instance)) else {
            let why = format!("the channel `{}` of the target `{name}` is not loaded", target.instance);
            return Err(Unsendable::Unavailable(why));
        };
        let conversation = Conversation {
            id: target.conversation.clone(),
            kind: ConversationKind::Direct,
            thread: target.thread.clone(),
            title: Some(name.to_owned()),
        };
        Ok((channel.instance.clone(), conversation))
    }

    /// Renders a text and puts it into the outbox, worth sending for so long; the same key is the same message.
    pub(crate) async fn queue(
        &self,
        instance: &InstanceId,
        conversation: Conversation,
        text: String,
        key: &str,
        worth_ms: u64,
    ) -> Result<(), Unsendable> {
        let content = Content { text, ..Content::default() };
        let parts = self.channels.render(instance, &conversation, content.clone()).await.map_err(|f| {
            let why = format!("it cannot be said through `{instance}`: {f}");
            if f.kind == ChannelFailureKind::Final { Unsendable::Invalid(why) } else { Unsendable::Unavailable(why) }
        })?;
        let expires_ms = self.clock.now_ms().saturating_add(worth_ms);
        let say = Say { conversation, content, run: None, priority: 0, expires_ms };
        match self.store.commit(self.parts(Batch::new(), key, instance, &say, parts, None)).await {
            // The same call was made before: it is on its way already.
            Err(e) if e.is_conflict() => {}
            other => drop(other.map_err(|e| Unsendable::Unavailable(e.to_string()))?),
        }
        if let Some(slot) = self.slot(instance) {
            slot.outbox.notify_one();
        }
        Ok(())
    }

    /// What a turn's tools are told of where it takes place.
    pub(crate) async fn place(
        &self,
        instance: &InstanceId,
        message: &carapace_contract::channel::ChannelMessage,
    ) -> Result<Place, carapace_store::StoreError> {
        let conversation = message.conversation.clone();
        let last = self.store.outbox_last_sent(&instance.to_string(), &conversation.key()).await?;
        let last = last.as_ref().and_then(|d| d.get("receipt")?.as_str()).map(str::to_owned);
        Ok(Place {
            instance: instance.clone(),
            conversation,
            message: Some(message.id.clone()).filter(|id| !id.is_empty()),
            reply_to: message.reply_to.clone(),
            last_sent: last.filter(|id| !id.is_empty()),
        })
    }
}

#[async_trait]
impl Messages for Courier {
    async fn send(&self, target: &str, text: String, key: &str) -> Result<String, Unsendable> {
        let (instance, conversation) = self.inner.target(target).await?;
        self.inner.queue(&instance, conversation, text, key, WORTH_MS).await?;
        Ok(format!("{target}, through {}", instance.name()))
    }
}
