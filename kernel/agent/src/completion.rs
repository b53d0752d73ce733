//! One request to one model: its events taken as they come.

use crate::events::Emitter;
use carapace_contract::completion::{
    CompletionEvent, CompletionFailure, CompletionRequest, FailureKind, ModelRef, StopReason, Usage,
};
use carapace_contract::message::Part;
use carapace_contract::ports::Models;
use carapace_contract::turn::TurnEventKind;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a model has said so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Said {
    /// In the order in which it came.
    pub(crate) parts: Vec<Part>,
    /// As reported; the last report counts.
    pub(crate) usage: Option<Usage>,
    /// Why it ended.
    pub(crate) stop: Option<StopReason>,
    bytes: usize,
    has_text: bool,
}

/// A provider that says more than this in one answer is broken.
const MOST_BYTES: usize = 8 << 20;
/// Calls in one answer.
const MOST_CALLS: usize = 128;
/// Events between provider and kernel before the provider waits.
const SINK: usize = 32;

impl Said {
    /// Something that cannot be taken back.
    pub(crate) fn anything(&self) -> bool {
        !self.parts.is_empty()
    }

    /// What the kernel says in a model's place.
    pub(crate) fn of_kernel(text: String) -> Self {
        Self { parts: vec![Part::Text { text }], ..Self::default() }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), CompletionFailure> {
        self.bytes = self.bytes.saturating_add(bytes);
        let calls = self.parts.iter().filter(|p| matches!(p, Part::ToolCall(_))).count();
        if self.bytes <= MOST_BYTES && calls <= MOST_CALLS {
            return Ok(());
        }
        Err(CompletionFailure {
            kind: FailureKind::Component,
            message: format!("the provider said more than {MOST_BYTES} bytes or {MOST_CALLS} tool calls in one answer"),
            retryable: false,
            retry_after_ms: None,
        })
    }
}

/// What the run has said, over all its completions; outlives the future that is dropped when the run is stopped.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    /// Everything that was emitted as text.
    pub(crate) text: String,
    /// The completion that is under way.
    pub(crate) now: Said,
}

/// Asks `model` and passes on what it says. What it said stands in `spoken.now`, also after a failure.
pub(crate) async fn ask(
    models: &dyn Models,
    model: &ModelRef,
    request: &CompletionRequest,
    spoken: &mut Spoken,
    events: &mut Emitter,
    cancel: CancellationToken,
) -> Result<(), CompletionFailure> {
    spoken.now = Said::default();
    let (sink, mut source) = mpsc::channel(SINK);
    let stop = cancel.clone().drop_guard();
    let mut answer = models.complete(model, request, sink, cancel);
    let result = loop {
        tokio::select! {
            biased;
            event = source.recv() => match event {
                Some(event) => take(event, spoken, events).await?,
                None => break answer.as_mut().await,
            },
            result = &mut answer => break result,
        }
    };
    // Whatever was pushed before the answer ended.
    while let Ok(event) = source.try_recv() {
        take(event, spoken, events).await?;
    }
    drop(stop.disarm());
    result
}

async fn take(event: CompletionEvent, spoken: &mut Spoken, events: &mut Emitter) -> Result<(), CompletionFailure> {
    match event {
        CompletionEvent::Text(delta) if delta.is_empty() => {}
        CompletionEvent::Text(mut delta) => {
            spoken.now.grow(delta.len())?;
            let new_paragraph = !spoken.now.has_text && !spoken.text.is_empty();
            spoken.now.has_text = true;
            match spoken.now.parts.last_mut() {
                Some(Part::Text { text }) => text.push_str(&delta),
                _ => spoken.now.parts.push(Part::text(delta.clone())),
            }
            // What was said before a tool call and what is said after it are two paragraphs of one answer.
            if new_paragraph {
                delta.insert_str(0, "\n\n");
            }
            spoken.text.push_str(&delta);
            events.emit(TurnEventKind::Text { delta }).await;
        }
        CompletionEvent::Reasoning(delta) if delta.is_empty() => {}
        CompletionEvent::Reasoning(delta) => {
            spoken.now.grow(delta.len())?;
            match spoken.now.parts.last_mut() {
                Some(Part::Reasoning { text }) => text.push_str(&delta),
                _ => spoken.now.parts.push(Part::Reasoning { text: delta.clone() }),
            }
            events.emit(TurnEventKind::Reasoning { delta }).await;
        }
        CompletionEvent::ToolCall(call) => {
            let size = call.name.len() + call.arguments.len();
            spoken.now.parts.push(Part::ToolCall(call));
            spoken.now.grow(size)?;
        }
        CompletionEvent::Other { name, value } => {
            let size = name.len() + value.len();
            spoken.now.parts.push(Part::Other { name, value });
            spoken.now.grow(size)?;
        }
        CompletionEvent::Usage(usage) => spoken.now.usage = Some(usage),
        CompletionEvent::Stop(reason) => spoken.now.stop = Some(reason),
    }
    Ok(())
}

/// What to do after a failure before anything was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The same model, after a while.
    Again(Duration),
    /// The next model of the route.
    Another,
    /// Nothing helps.
    GiveUp,
}

/// How patient to be with a model.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries of the same model after the first.
    pub retries: u32,
    /// The first pause; it doubles.
    pub base: Duration,
    /// The longest pause. A provider that wants a longer one is passed over.
    pub most: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { retries: 2, base: Duration::from_millis(400), most: Duration::from_secs(20) }
    }
}

impl Patience {
    /// Decides; `tried` counts the tries of this model so far.
    pub(crate) fn after(&self, failure: &CompletionFailure, tried: u32, has_next: bool) -> Next {
        let elsewhere = failure.retryable
            || !matches!(failure.kind, FailureKind::InvalidRequest | FailureKind::Cancelled | FailureKind::Other(_));
        let onwards = if has_next && elsewhere { Next::Another } else { Next::GiveUp };
        let same_may_help = failure.retryable
            && !matches!(
                failure.kind,
                FailureKind::Authentication
                    | FailureKind::UnknownModel
                    | FailureKind::ContextLength
                    | FailureKind::Cancelled
            );
        if !same_may_help || tried > self.retries {
            return onwards;
        }
        match failure.retry_after_ms.map(Duration::from_millis) {
            Some(wanted) if wanted > self.most => onwards,
            Some(wanted) => Next::Again(wanted),
            None => {
                let pause = self.base.saturating_mul(1 << tried.saturating_sub(1).min(16)).min(self.most);
                // Between half and the whole of it, so that many runs do not come back at once.
                let jitter = (carapace_contract::Ulid::generate().random() % 1_000) as u32;
                Next::Again(pause / 2 + pause / 2 * jitter / 1_000)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind, retryable: bool, retry_after_ms: Option<u64>) -> CompletionFailure {
        CompletionFailure { kind, message: "no".into(), retryable, retry_after_ms }
    }

    #[test]
    fn a_busy_model_is_tried_again_when_it_says_and_passed_over_when_that_is_too_long() {
        let p = Patience::default();
        let busy = |ms| failure(FailureKind::RateLimited, true, ms);
        assert_eq!(p.after(&busy(Some(1_500)), 1, true), Next::Again(Duration::from_millis(1_500)));
        assert_eq!(p.after(&busy(Some(60_000)), 1, true), Next::Another);
        assert_eq!(p.after(&busy(None), 3, true), Next::Another);
        assert_eq!(p.after(&busy(None), 3, false), Next::GiveUp);
        let Next::Again(pause) = p.after(&busy(None), 2, true) else { panic!() };
        assert!(pause >= p.base && pause <= p.base * 2, "{pause:?}");
    }

    #[test]
    fn a_refused_credential_goes_straight_to_the_next_model_and_a_wrong_request_nowhere() {
        let p = Patience::default();
        assert_eq!(p.after(&failure(FailureKind::Authentication, false, None), 1, true), Next::Another);
        assert_eq!(p.after(&failure(FailureKind::InvalidRequest, false, None), 1, true), Next::GiveUp);
    }
}
