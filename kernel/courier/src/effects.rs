//! What leaves after a commit. The effects of one event leave in order, each at most once: what must arrive is a message, not an effect.
//! What goes through sockets waits for no request of another event.

use crate::chance::back_off;
use crate::connect;
use crate::courier::Inner;
use crate::slot::Slot;
use carapace_contract::InstanceId;
use carapace_contract::channel::{ChannelFailureKind, ChannelInfo, Effect, KernelRequest};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Effects that wait; more make the session wait.
const MOST: usize = 256;
/// How often one is offered while the kernel has no room for it.
const OFFERS: u32 = 5;

/// The way out for the effects of one session.
pub(crate) fn effects(inner: &Arc<Inner>, slot: &Arc<Slot>, info: &ChannelInfo) -> mpsc::Sender<Vec<Effect>> {
    let (sender, mut queue) = mpsc::channel::<Vec<Effect>>(MOST);
    let (inner_, slot, info) = (Arc::clone(inner), Arc::clone(slot), info.clone());
    inner.spawn(async move {
        while let Some(effects) = queue.recv().await {
            for effect in effects {
                match effect {
                    Effect::Request(request) => send(&inner_, &info.instance, request).await,
                    other => connect::perform(&inner_, &slot, &info, other).await,
                }
            }
        }
    });
    sender
}

/// Lets the effects of one event go; those of sockets at once, unless they stand behind a request: sockets outlive the session, and wait
/// for what was promised through them. Requests are given up when the session is told to end.
pub(crate) async fn release(
    inner: &Arc<Inner>,
    slot: &Arc<Slot>,
    info: &ChannelInfo,
    queue: &mpsc::Sender<Vec<Effect>>,
    cancel: &CancellationToken,
    effects: Vec<Effect>,
) {
    let mut effects = effects.into_iter().peekable();
    while let Some(effect) = effects.next_if(|e| !matches!(e, Effect::Request(_))) {
        connect::perform(inner, slot, info, effect).await;
    }
    let rest: Vec<Effect> = effects.collect();
    if !rest.is_empty() {
        tokio::select! {
            biased;
            // Its reader ends with the courier.
            _ = queue.send(rest) => {}
            () = cancel.cancelled() => {}
        }
    }
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
