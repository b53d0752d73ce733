//! Webhooks, as the gateway hands them on: authentic, durable, and only then answered.

use crate::clock::Moment;
use crate::courier::{Courier, Inner};
use crate::slot::{Hook, Slot};
use async_trait::async_trait;
use carapace_contract::Digest;
use carapace_contract::channel::{ChannelInfo, ChannelState, Event, HttpAnswer, WebhookRequest};
use carapace_contract::ports::Webhooks;
use carapace_store::{Batch, ChannelEventRow, ChannelEventState};
use tokio::sync::oneshot;

/// How long a platform waits for its answer, ms; later it comes again by itself.
const PATIENCE_MS: u64 = 2_500;

fn answer(status: u16) -> HttpAnswer {
    HttpAnswer { status, ..HttpAnswer::default() }
}

/// Not now: come again.
fn later(status: u16, seconds: u32) -> HttpAnswer {
    HttpAnswer { status, headers: vec![("retry-after".to_owned(), seconds.to_string())], body: Vec::new() }
}

#[async_trait]
impl Webhooks for Courier {
    async fn webhook(&self, component: &str, instance: &str, request: WebhookRequest) -> HttpAnswer {
        let inner = &self.inner;
        let patience = Moment::after(inner.clock.as_ref(), PATIENCE_MS);
        let (answer, label) = match inner.addressed(component, instance, &request.webhook) {
            None => (answer(404), None),
            Some(info) => {
                let taken = tokio::select! {
                    biased;
                    taken = inner.take_webhook(&info, request) => taken,
                    () = patience.wait(inner.clock.as_ref()) => later(503, 2),
                };
                (taken, Some(info.instance.to_string()))
            }
        };
        // Not by what a stranger wrote into the path.
        let label = label.unwrap_or_else(|| "unknown".to_owned());
        metrics::counter!(
            "carapace_channel_webhooks_total", "instance" => label, "status" => answer.status.to_string()
        )
        .increment(1);
        answer
    }
}

impl Inner {
    /// The one channel that is meant.
    fn addressed(&self, component: &str, instance: &str, webhook: &str) -> Option<ChannelInfo> {
        let named = |info: &ChannelInfo| {
            info.instance.name().as_str() == component
                && info.instance.id().as_str() == instance
                && info.webhooks.iter().any(|w| w == webhook)
        };
        let mut found = self.channels.channels().into_iter().filter(named);
        let info = found.next()?;
        // Of two publishers' components of one name, nobody knows which is meant.
        found.next().is_none().then_some(info)
    }

    async fn take_webhook(&self, info: &ChannelInfo, request: WebhookRequest) -> HttpAnswer {
        let Some(slot) = self.slot(&info.instance).filter(|_| !self.stopping.is_cancelled()) else {
            return later(503, 5);
        };
        // Nothing would come of it before others are done, or its owner has done something. What does not come again is kept all the same.
        let busy = self.lanes.is_full(&info.instance) || slot.standing().state == ChannelState::Stopped;
        if busy && !info.spool {
            return later(503, 30);
        }
        let request = match self.channels.verify(&info.instance, request).await {
            Ok(request) => request,
            Err(refusal) => return refusal,
        };
        if info.spool {
            return self.spool_webhook(&slot, request).await;
        }
        let (sender, receiver) = oneshot::channel();
        match slot.post(Hook { event: Event::Webhook(request), answer: sender }) {
            Err(()) => later(429, 2),
            // Closed: its session ended before it was taken in.
            Ok(()) => receiver.await.unwrap_or_else(|_| later(503, 2)),
        }
    }

    /// Makes it durable as it is: its platform does not send it again.
    async fn spool_webhook(&self, slot: &Slot, request: WebhookRequest) -> HttpAnswer {
        if slot.is_full() {
            return later(429, 30);
        }
        let body = serde_json::to_value(Event::Webhook(request)).unwrap_or_default();
        let row = ChannelEventRow {
            id: self.new_id(),
            instance: slot.instance.clone(),
            fingerprint: Digest::of(body.to_string().as_bytes()).hex(),
            body,
            state: ChannelEventState::Waiting,
            why: None,
            at_ms: self.clock.now_ms(),
        };
        match self.store.commit(Batch::new().event_put(row)).await {
            Ok(_) => {
                slot.stored(1);
                answer(200)
            }
            Err(error) => {
                tracing::error!(instance = %slot.instance, %error, "a webhook could not be kept");
                later(503, 5)
            }
        }
    }
}
