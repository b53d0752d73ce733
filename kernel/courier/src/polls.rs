//! Polls, run by the kernel: request, `split`, items; and again.

use crate::chance::back_off;
use crate::clock::Moment;
use crate::courier::Inner;
use crate::ingress::{FIRST_MS, LONGEST_ASKED_MS, LONGEST_MS};
use carapace_contract::InstanceId;
use carapace_contract::channel::{
    ChannelFailure, ChannelFailureKind, HttpAnswer, Item, KernelRequest, Link, MAX_ATTEMPTS,
};
use futures::future::BoxFuture;
use std::sync::Arc;

/// Between two polls, at least, ms: four hundred a minute, well under the requests that an instance usually has.
const LEAST_MS: u64 = 150;
/// So many may follow each other without that wait, as long as each brings something new: much has piled up. They are made up for later.
const AT_ONCE: u64 = 60;
/// Between two polls that bring items while the request stays the same, ms: the cursor does not move.
const STUCK_MS: u64 = 1_000;

/// What a poll brought.
pub(crate) struct Polled {
    pub(crate) result: Result<Vec<Item>, ChannelFailure>,
    /// The response, where `split` broke on it.
    pub(crate) response: Option<HttpAnswer>,
}

/// The polls of a session.
#[derive(Default)]
pub(crate) struct Polls {
    /// The one that is under way.
    running: Option<BoxFuture<'static, Polled>>,
    /// Not before.
    next: Option<Moment>,
    /// When the next one were due if all of them had waited, ms of the steady clock.
    due_ms: u64,
    /// The request that last brought something.
    brought: Option<KernelRequest>,
    /// In a row.
    pub(crate) failures: u32,
}

impl Polls {
    /// There is another link. A request that is under way goes on if it is still the one that is wanted.
    pub(crate) fn relink(&mut self, old: Option<&Link>, new: &Link) {
        let request = |link: Option<&Link>| match link {
            Some(Link::Poll { request, .. }) => Some(request.clone()),
            _ => None,
        };
        if request(old) != request(Some(new)) {
            self.running = None;
        }
    }

    /// Waits for the next poll and what it brings; for ever where nothing is to be polled. Can be dropped and called again.
    pub(crate) async fn next(&mut self, inner: &Arc<Inner>, instance: &InstanceId, link: Option<&Link>) -> Polled {
        let Some(Link::Poll { request, min_interval_ms }) = link else {
            self.running = None;
            return std::future::pending().await;
        };
        if self.running.is_none() {
            let (inner, instance, request) = (Arc::clone(inner), instance.clone(), request.clone());
            // Kept: a request that takes the place of this one waits as long.
            let next = self.next;
            self.running = Some(Box::pin(async move {
                if let Some(moment) = next {
                    moment.wait(inner.clock.as_ref()).await;
                }
                inner.lanes.room(&instance).await;
                poll(&inner, &instance, request).await
            }));
        }
        let Some(running) = self.running.as_mut() else { return std::future::pending().await };
        let polled = running.await;
        self.running = None;
        let outcome = if polled.result.is_ok() { "ok" } else { "failed" };
        metrics::counter!("carapace_channel_polls_total", "instance" => instance.to_string(), "outcome" => outcome)
            .increment(1);
        let now = inner.clock.steady_ms();
        self.due_ms = self.due_ms.max(now).saturating_add(LEAST_MS);
        let wait = match &polled.result {
            Ok(items) => {
                self.failures = 0;
                if items.is_empty() {
                    u64::from(*min_interval_ms).max(LEAST_MS)
                } else if self.brought.replace(request.clone()).as_ref() == Some(request) {
                    STUCK_MS
                } else {
                    self.due_ms.saturating_sub(now).saturating_sub(AT_ONCE * LEAST_MS)
                }
            }
            Err(f) => {
                self.failures = self.failures.saturating_add(1);
                let asked = f.retry_after_ms.unwrap_or(0).min(LONGEST_ASKED_MS);
                let first = if f.kind == ChannelFailureKind::NotNow { 200 } else { FIRST_MS };
                back_off(self.failures, first, LONGEST_MS).max(asked).max(LEAST_MS)
            }
        };
        self.next = Some(Moment::after(inner.clock.as_ref(), wait));
        polled
    }

    /// An item cannot be got past: the poll that brings it again waits as if it had failed.
    pub(crate) fn fail(&mut self, inner: &Inner) {
        self.failures = self.failures.saturating_add(1);
        let wait = back_off(self.failures, FIRST_MS, LONGEST_MS);
        self.next = Some(Moment::after(inner.clock.as_ref(), wait));
    }
}

async fn poll(inner: &Inner, instance: &InstanceId, request: KernelRequest) -> Polled {
    let response = match inner.channels.request(instance, request).await {
        Ok(response) => response,
        Err(f) => return Polled { result: Err(f), response: None },
    };
    let mut attempt = 1;
    loop {
        match inner.channels.split(instance, response.clone()).await {
            Err(f) if f.kind == ChannelFailureKind::Broken && attempt < MAX_ATTEMPTS => attempt += 1,
            // The kernel's own refusal loses nothing: the response is still here.
            Err(f) if f.kind == ChannelFailureKind::NotNow => inner.clock.sleep_ms(back_off(attempt, 200, 2_000)).await,
            result => {
                let broke = matches!(&result, Err(f) if f.kind == ChannelFailureKind::Broken);
                return Polled { result, response: broke.then_some(response) };
            }
        }
    }
}
