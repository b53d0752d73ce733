//! Requests that leave after a commit, in order. Each is sent at most once: what must arrive is a message, not an effect.

use crate::chance::back_off;
use crate::courier::Inner;
use carapace_contract::InstanceId;
use carapace_contract::channel::{ChannelFailureKind, KernelRequest};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Effects that wait; more make the session wait.
const MOST: usize = 256;
/// How often one is offered while the kernel has no room for it.
const OFFERS: u32 = 5;

/// The way out for the effects of one session.
pub(crate) fn effects(inner: &Arc<Inner>, instance: InstanceId) -> mpsc::Sender<KernelRequest> {
    let (sender, mut queue) = mpsc::channel::<KernelRequest>(MOST);
    let inner_ = Arc::clone(inner);
    inner.spawn(async move {
        while let Some(request) = queue.recv().await {
            send(&inner_, &instance, request).await;
        }
    });
    sender
}

async fn send(inner: &Inner, instance: &InstanceId, request: KernelRequest) {
    let mut offer = 1;
    let outcome = loop {
        match inner.channels.request(instance, request.clone()).await {
            Err(f) if f.kind == ChannelFailureKind::NotNow && offer < OFFERS => {
                inner.clock.sleep_ms(back_off(offer, 200, 2_000)).await;
                offer += 1;
            }
            Ok(answer) if answer.status < 400 => break "ok",
            Ok(answer) => {
                tracing::warn!(%instance, status = answer.status, "an effect of a channel was refused");
                break "refused";
            }
            Err(f) => {
                tracing::warn!(%instance, error = %f, "an effect of a channel was lost");
                break "failed";
            }
        }
    };
    metrics::counter!("carapace_channel_effects_total", "instance" => instance.to_string(), "outcome" => outcome)
        .increment(1);
}
