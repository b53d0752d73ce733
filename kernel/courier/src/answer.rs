//! One message: turn, rendering, outbox. Each step finds what the one before it left, so that a crash anywhere repeats nothing.

use crate::courier::Inner;
use crate::draft::{self, Draft, Growing};
use crate::files;
use crate::inbound::{self, Payload};
use crate::sending::Addressed;
use crate::typing::Typing;
use carapace_contract::InstanceId;
use carapace_contract::channel::{
    ChannelFailure, ChannelFailureKind, Content, Conversation, MAX_ATTEMPTS, RenderedPart,
};
use carapace_contract::decision::Origin;
use carapace_contract::media::Media;
use carapace_contract::turn::{TurnEventKind, TurnOptions, TurnRequest};
use carapace_store::{Batch, InboxState, OutboxRow, OutboxState, StoreError, Ulid};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long an answer is worth sending, ms.
pub(crate) const WORTH_MS: u64 = 86_400_000;
/// A message that kills the kernel so often is not worked on again.
const MOST_LIVES: u32 = 10;
/// How long one look at a run waits for its end.
const LOOK: Duration = Duration::from_secs(60);

/// How far a message got.
pub(crate) enum Step {
    /// It is done, or given up.
    Done,
    /// It has to be tried again, and why.
    Again(String),
}

impl From<StoreError> for Step {
    fn from(e: StoreError) -> Self {
        Self::Again(e.to_string())
    }
}

/// What this life of the kernel has tried with a message.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    begun: bool,
    /// How often its channel broke on its answer.
    broken: u32,
}

/// What a turn came to.
struct Answer {
    run: Option<Ulid>,
    text: String,
    files: Vec<Media>,
}

/// What is to be said, and how.
pub(crate) struct Say {
    pub(crate) conversation: Conversation,
    pub(crate) content: Content,
    pub(crate) run: Option<Ulid>,
    pub(crate) priority: i32,
    pub(crate) expires_ms: u64,
}

impl Inner {
    /// Does what is left to do for a message.
    pub(crate) async fn step(
        self: &Arc<Self>,
        id: Ulid,
        instance: &InstanceId,
        session: &str,
        progress: &mut Progress,
    ) -> Step {
        match self.try_step(id, instance, session, progress).await {
            Ok(()) => Step::Done,
            Err(step) => step,
        }
    }

    async fn try_step(
        self: &Arc<Self>,
        id: Ulid,
        instance: &InstanceId,
        session: &str,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        // Before it is read: what has been begun is no longer edited.
        if !progress.begun {
            match self.store.commit(Batch::relaxed().inbox_state(id, InboxState::Processing)).await {
                Err(e) if e.is_conflict() || e.is_missing() => return Ok(()),
                other => drop(other?),
            }
        }
        let Some(entry) = self.store.inbox_entry(id).await? else { return Ok(()) };
        let Ok(payload) = serde_json::from_value::<Payload>(entry.row.payload) else {
            return self.give_up(id, instance, "it cannot be read back").await;
        };
        if !std::mem::replace(&mut progress.begun, true) && entry.attempts > MOST_LIVES {
            let why = format!("it was begun {} times and never came to an end", entry.attempts);
            return self.give_up(id, instance, &why).await;
        }
        let say = match payload {
            Payload::Notice { conversation, text, expires_ms } => {
                let content = Content { text, ..Content::default() };
                Some(Say { conversation, content, run: None, priority: -10, expires_ms })
            }
            Payload::Turn { origin, edit, message } => {
                let typing = Typing::begin(self, instance, &message.conversation);
                let files = self.files(instance, &message).await;
                let request = TurnRequest {
                    session: session.to_owned(),
                    origin,
                    parts: inbound::parts(&message, edit, files),
                    history: Vec::new(),
                    system: None,
                    model: None,
                    idempotency_key: Some(format!("inbox:{id}")),
                    options: TurnOptions::default(),
                    place: Some(self.place(instance, &message).await?),
                };
                let (reply_to, about) = (inbound::answered(&message), inbound::about(&message));
                let priority = if origin == Origin::Owner { 10 } else { 0 };
                let draft = Draft {
                    inner: self,
                    instance,
                    conversation: &message.conversation,
                    reply_to: reply_to.clone(),
                    about: about.clone(),
                    priority,
                    expires_ms: self.clock.now_ms().saturating_add(WORTH_MS),
                    key: draft::key(id),
                };
                let (grows, growing) = watch::channel(Growing::default());
                let over = CancellationToken::new();
                let turn = async {
                    let answer = self.turn(request, &grows).await;
                    over.cancel();
                    answer
                };
                let (answer, ()) = tokio::join!(turn, draft.show(growing, &over));
                drop(typing);
                let Answer { run, text, files } = answer?;
                (!text.trim().is_empty() || !files.is_empty()).then(|| Say {
                    conversation: message.conversation,
                    content: Content { text, reply_to, about, files },
                    run,
                    priority,
                    expires_ms: self.clock.now_ms().saturating_add(WORTH_MS),
                })
            }
        };
        let mut batch = Batch::new().inbox_state(id, InboxState::Done);
        if let Some(mut say) = say {
            say.content = files::fitting(self.channel(instance).as_ref(), say.content);
            for file in &say.content.files {
                batch = batch.blob_give(file.id.clone(), instance.clone(), self.clock.now_ms());
            }
            let draft = self.store.outbox_by_key(&instance.to_string(), &draft::key(id)).await?.map(|e| e.row.id);
            match self.channels.render(instance, &say.conversation, say.content.clone()).await {
                Ok(parts) => batch = self.parts(batch, &id.to_string(), instance, &say, parts, draft),
                Err(f) => return self.not_rendered(id, instance, &f, progress).await,
            }
        }
        match self.store.commit(batch).await {
            // Done already: an earlier commit came through although its answer did not.
            Err(e) if e.is_conflict() => {}
            other => drop(other?),
        }
        if let Some(slot) = self.slot(instance) {
            slot.outbox.notify_one();
        }
        Ok(())
    }

    /// Queues the parts of what is to be said; `key` tells it from everything else. The first takes the place of the draft, if there is one.
    pub(crate) fn parts(
        &self,
        mut batch: Batch,
        key: &str,
        instance: &InstanceId,
        say: &Say,
        parts: Vec<RenderedPart>,
        draft: Option<Ulid>,
    ) -> Batch {
        for (n, part) in parts.into_iter().enumerate() {
            let addressed = Addressed { conversation: say.conversation.clone(), part, edits: draft.filter(|_| n == 0) };
            let key = format!("{key}:{n}");
            batch = batch.outbox_put(self.row(instance, &key, addressed, say.run, say.priority, say.expires_ms));
        }
        batch
    }

    /// A part that waits to be sent.
    pub(crate) fn row(
        &self,
        instance: &InstanceId,
        key: &str,
        addressed: Addressed,
        run: Option<Ulid>,
        priority: i32,
        expires_ms: u64,
    ) -> OutboxRow {
        OutboxRow {
            id: self.new_id(),
            run,
            instance: instance.to_string(),
            conversation: addressed.conversation.key(),
            priority,
            idempotency_key: key.to_owned(),
            part: serde_json::to_value(addressed).unwrap_or_default(),
            state: OutboxState::Pending,
            attempts: 0,
            not_before_ms: self.clock.now_ms(),
            expires_ms: Some(expires_ms),
        }
    }

    async fn not_rendered(
        &self,
        id: Ulid,
        instance: &InstanceId,
        f: &ChannelFailure,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        match f.kind {
            ChannelFailureKind::Final => self.give_up(id, instance, &format!("its answer: {f}")).await,
            ChannelFailureKind::Broken => {
                progress.broken += 1;
                if progress.broken >= MAX_ATTEMPTS {
                    return self.give_up(id, instance, &format!("the channel broke on its answer: {f}")).await;
                }
                Err(Step::Again(f.to_string()))
            }
            // It is answered when its channel is there again.
            ChannelFailureKind::Gone | ChannelFailureKind::NotNow | ChannelFailureKind::Retryable => {
                Err(Step::Again(f.to_string()))
            }
        }
    }

    async fn give_up(&self, id: Ulid, instance: &InstanceId, why: &str) -> Result<(), Step> {
        tracing::error!(%instance, %id, why, "a message was given up; `carapace events list` shows it");
        match self.store.commit(Batch::new().inbox_dead(id, why)).await {
            Err(e) if e.is_conflict() || e.is_missing() => {}
            other => drop(other?),
        }
        metrics::counter!("carapace_channel_messages_total", "instance" => instance.to_string(), "outcome" => "dead")
            .increment(1);
        Ok(())
    }

    /// The run of a message, new or found again, to its end: what is to be said about it. Meanwhile it `grows`.
    async fn turn(&self, request: TurnRequest, grows: &watch::Sender<Growing>) -> Result<Answer, Step> {
        let mut submitted = match self.assistant.submit(request).await {
            Ok(submitted) => submitted,
            Err(e) if e.retryable => return Err(Step::Again(e.to_string())),
            Err(e) => return Ok(Answer { run: None, text: failed(&e.code), files: Vec::new() }),
        };
        let run = Some(submitted.run);
        // Of a run that was found again, nobody knows what it said before.
        let new = !submitted.duplicate;
        while let Some(event) = submitted.events.recv().await {
            match &event.kind {
                TurnEventKind::Text { delta } if new => grows.send_modify(|g| {
                    g.run = run;
                    g.text.push_str(delta);
                }),
                kind => {
                    if let Some((text, files)) = said(kind) {
                        return Ok(Answer { run, text, files });
                    }
                }
            }
        }
        let run = submitted.run;
        // Nobody will say more: it was suspended, or had ended long before, or its end was too much for the reader.
        loop {
            match self.assistant.wait(run, LOOK).await {
                Some(state) if state.last.is_some() || state.ended_ms.is_some() => {
                    let (text, files) = state.last.as_ref().and_then(said).unwrap_or_default();
                    return Ok(Answer { run: Some(run), text, files });
                }
                Some(_) if self.stopping.is_cancelled() => {
                    return Err(Step::Again("the kernel is stopping".to_owned()));
                }
                // A run that nobody works on answers at once.
                Some(_) => self.clock.sleep_ms(500).await,
                None => return Err(Step::Again(format!("run {run} is not known"))),
            }
        }
    }
}

/// What the last event of a run gives to say; none if it is not the last.
fn said(kind: &TurnEventKind) -> Option<(String, Vec<Media>)> {
    match kind {
        TurnEventKind::Completed { text, files, .. } => Some((text.clone(), files.clone())),
        TurnEventKind::Failed { code, .. } => Some((failed(code), Vec::new())),
        TurnEventKind::Cancelled { text } => {
            let text = text.trim_end();
            let text = if text.is_empty() { "(stopped)".to_owned() } else { format!("{text}\n\n(stopped)") };
            Some((text, Vec::new()))
        }
        _ => None,
    }
}

/// No internals: whoever reads it may be a stranger to the machine. The owner finds the rest under the code.
fn failed(code: &str) -> String {
    let why = match code {
        "E-BUDGET-001" => "today's budget is used up",
        "E-TURN-008" => "it took too long",
        c if c.starts_with("E-MODEL") || c.starts_with("E-ROUTE") => "the model cannot be reached or refused",
        _ => "something went wrong",
    };
    format!("Sorry, I cannot answer this: {why} ({code}).")
}
