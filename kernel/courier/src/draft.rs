//! An answer that is shown while it grows. Its first message is a part like any other, durable before it is sent; what follows changes that
//! message, as often as the platform bears, and is kept nowhere. The finished answer takes its place.

use crate::courier::Inner;
use crate::sending::{Addressed, Detail};
use carapace_contract::InstanceId;
use carapace_contract::channel::{ChannelFailureKind, Content, Conversation, Outgoing, RenderedPart};
use carapace_store::{Batch, OutboxState, Ulid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What is said sooner needs no draft, ms.
const FIRST_MS: u64 = 1_500;
/// Between two looks at whether the first message is there, ms.
const LOOK_MS: u64 = 150;
/// So many failures in a row end it.
const PATIENCE: u32 = 3;
/// How long the finished answer waits for a change that is under way, ms.
const LAST_MS: u64 = 5_000;

/// What has been said so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Growing {
    pub(crate) run: Option<Ulid>,
    pub(crate) text: String,
}

/// An answer that may be shown while it grows.
pub(crate) struct Draft<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) instance: &'a InstanceId,
    pub(crate) conversation: &'a Conversation,
    pub(crate) reply_to: Option<String>,
    pub(crate) about: Option<String>,
    pub(crate) priority: i32,
    pub(crate) expires_ms: u64,
    pub(crate) key: String,
}

/// The key of the draft of an answer to this message.
pub(crate) fn key(message: Ulid) -> String {
    format!("{message}:draft")
}

impl Draft<'_> {
    /// Shows what grows until it is `over`. Whatever fails here, the answer itself comes.
    pub(crate) async fn show(&self, mut growing: watch::Receiver<Growing>, over: &CancellationToken) {
        let edits = self.inner.channel(self.instance).and_then(|info| info.description.edits);
        let Some(edits) = edits.filter(|_| self.inner.policy(self.instance).drafts) else { return };
        let every = u64::from(edits.interval_ms(self.conversation.kind));
        let shown = async {
            let begun = async {
                growing.wait_for(|g| !g.text.trim().is_empty()).await.ok()?;
                self.inner.clock.sleep_ms(FIRST_MS.max(every)).await;
                Some(())
            };
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                Some(()) = begun => {}
                else => return Ok(()),
            }
            self.grow(&mut growing, every, over).await
        };
        let ended = tokio::select! {
            biased;
            // Not in the middle of a change: that could overtake the finished answer.
            () = async { over.cancelled().await; self.inner.clock.sleep_ms(LAST_MS).await } => Ok(()),
            ended = shown => ended,
        };
        if let Err(error) = ended {
            tracing::info!(instance = %self.instance, %error, "an answer is not shown while it grows");
        }
    }

    async fn grow(
        &self,
        growing: &mut watch::Receiver<Growing>,
        every: u64,
        over: &CancellationToken,
    ) -> Result<(), String> {
        let first = growing.borrow_and_update().clone();
        let Some(id) = self.begin(&first, over).await? else { return Ok(()) };
        let (mut failures, mut said) = (0, first.text);
        loop {
            let news = async {
                self.inner.clock.sleep_ms(every).await;
                growing.wait_for(|g| g.text != said).await.map(|g| g.text.clone())
            };
            let text = tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                Ok(text) = news => text,
                else => return Ok(()),
            };
            let (part, whole) = self.rendered(&text).await?;
            let outgoing =
                Outgoing { conversation: self.conversation.clone(), part, key: self.key.clone(), attempt: 1 };
            match self.inner.channels.edit(self.instance, outgoing, id.clone()).await {
                Ok(()) => failures = 0,
                Err(f) => {
                    failures += 1;
                    let again = matches!(f.kind, ChannelFailureKind::Retryable | ChannelFailureKind::NotNow);
                    if !again || failures >= PATIENCE {
                        return Err(f.to_string());
                    }
                    tokio::select! {
                        biased;
                        () = over.cancelled() => return Ok(()),
                        () = self.inner.clock.sleep_ms(f.retry_after_ms.unwrap_or(0)) => {}
                    }
                    continue;
                }
            }
            // The message is full: what follows stands in others, and those come with the whole.
            if !whole {
                return Ok(());
            }
            said = text;
        }
    }

    /// Sends the first message: the platform's id of it, once it is there.
    async fn begin(&self, first: &Growing, over: &CancellationToken) -> Result<Option<String>, String> {
        let (part, _) = self.rendered(&first.text).await?;
        let addressed = Addressed { conversation: self.conversation.clone(), part, edits: None };
        let row = self.inner.row(self.instance, &self.key, addressed, first.run, self.priority, self.expires_ms);
        let id = row.id;
        self.inner.store.commit(Batch::new().outbox_put(row)).await.map_err(|e| e.to_string())?;
        if let Some(slot) = self.inner.slot(self.instance) {
            slot.outbox.notify_one();
        }
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(None),
                () = self.inner.clock.sleep_ms(LOOK_MS) => {}
            }
            let entry = self.inner.store.outbox_entry(id).await.map_err(|e| e.to_string())?;
            let Some(entry) = entry else { return Ok(None) };
            match entry.row.state {
                OutboxState::Pending | OutboxState::InFlight => {}
                OutboxState::Sent => return Ok(Detail::of(&entry).sent_as()),
                OutboxState::Uncertain | OutboxState::Dead => return Ok(None),
            }
        }
    }

    /// The first message of what there is so far, and whether that is all.
    async fn rendered(&self, text: &str) -> Result<(RenderedPart, bool), String> {
        let (reply_to, about) = (self.reply_to.clone(), self.about.clone());
        let content = Content { text: text.to_owned(), reply_to, about, files: Vec::new() };
        let parts = self.inner.channels.render(self.instance, self.conversation, content).await;
        let parts = parts.map_err(|f| f.to_string())?;
        let whole = parts.len() == 1;
        let first = parts.into_iter().next().ok_or_else(|| "there is nothing to show".to_owned())?;
        Ok((first, whole))
    }
}
