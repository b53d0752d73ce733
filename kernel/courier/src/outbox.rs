//! The outbox worker of a channel instance: what is due leaves, in the order of its conversation, several conversations at once.

use crate::clock::{Moment, SLICE_MS, Wall};
use crate::courier::{HOLDER, Inner};
use crate::ingress::LONGEST_ASKED_MS;
use crate::sending::{Addressed, Detail, settle};
use crate::slot::Slot;
use carapace_contract::InstanceId;
use carapace_store::{Batch, Lease, OutboxState, StoreError, Ulid};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Conversations of an instance that are written to at once.
const AT_ONCE: usize = 4;
/// Rows that are settled in one batch.
const MOST_ROWS: usize = 256;
/// Rows that are put right after the clock was put back.
const MOST_WRONG: usize = 4_096;
/// How long the lease holds unless it is renewed.
const LEASE: Duration = Duration::from_secs(3_600);
/// When it is renewed, ms.
const RENEW_MS: u64 = 1_200_000;
/// How long a part may look due although it is on its way, ms.
const NOTED_MS: u64 = 5;
/// The wait after the store could not be read, ms.
const STORE_MS: u64 = 5_000;

/// Works until it is told to stop; what is on its way then is waited for.
pub(crate) async fn work(inner: Arc<Inner>, slot: Arc<Slot>, cancel: CancellationToken) {
    loop {
        match worked(&inner, &slot, &cancel).await {
            Ok(()) => return,
            Err(e) if e.is_closed() || e.is_fenced() => {
                tracing::info!(instance = %slot.instance, error = %e, "nothing more is sent from here");
                return;
            }
            Err(error) => tracing::warn!(instance = %slot.instance, %error, "the outbox could not be read or written"),
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = inner.clock.sleep_ms(STORE_MS) => {}
        }
    }
}

async fn worked(inner: &Inner, slot: &Slot, cancel: &CancellationToken) -> Result<(), StoreError> {
    let instance = &slot.instance;
    let name = instance.to_string();
    let clock = inner.clock.as_ref();
    let lease = inner.store.lease_acquire(&format!("outbox:{instance}"), HOLDER, LEASE).await?;
    let mut renew = Moment::after(clock, RENEW_MS);
    let mut sending = FuturesUnordered::new();
    // Conversations that are written to, and with what: what is on its way and not noted yet looks as if it were due.
    let mut busy: HashMap<String, Ulid> = HashMap::new();
    let mut wall = Wall::of(clock);
    // When to look at how long parts wait: now, for what another life of the kernel has noted.
    let mut look = Some(Moment::after(clock, 0));
    let mut paused: Option<Moment> = None;
    // Its component is not there; it is looked for again when something changes, and now and then.
    let mut gone: Option<Moment> = None;
    let mut unsettled = vec![OutboxState::InFlight, OutboxState::Uncertain];
    loop {
        if !unsettled.is_empty() {
            settle_all(inner, instance, &lease, &std::mem::take(&mut unsettled)).await?;
        }
        if renew.left(clock) == 0 {
            inner.store.lease_renew(&lease, LEASE).await?;
            renew = Moment::after(clock, RENEW_MS);
        }
        paused = paused.filter(|p| p.left(clock) > 0);
        gone = gone.filter(|g| g.left(clock) > 0);
        let put_back = wall.was_put_back(clock);
        if put_back || look.is_some_and(|l| l.left(clock) == 0) {
            // Once more a while after it was put back: something may just have been noted by the old time.
            look = put_back.then(|| Moment::after(clock, SLICE_MS));
            put_right(inner, instance, &lease, &busy).await?;
        }
        let now = clock.now_ms();
        expire(inner, &name, &lease, now).await?;
        let free = AT_ONCE.saturating_sub(busy.len());
        if paused.is_none() && gone.is_none() && free > 0 && !cancel.is_cancelled() {
            let due = inner.store.outbox_due(&name, now, LONGEST_ASKED_MS, AT_ONCE).await?;
            let due = due.into_iter().filter(|e| !busy.contains_key(&e.row.conversation)).take(free);
            for entry in due.collect::<Vec<_>>() {
                let conversation = entry.row.conversation.clone();
                busy.insert(conversation.clone(), entry.row.id);
                sending.push(async { (conversation, inner.send(instance, &lease, entry).await) });
            }
        }
        if cancel.is_cancelled() && busy.is_empty() {
            return Ok(());
        }
        let next = match paused.max(gone) {
            _ if cancel.is_cancelled() || busy.len() >= AT_ONCE => None,
            Some(moment) => Some(moment.left(clock)),
            // What is being noted as on its way still looks due for a moment.
            None => inner.store.outbox_next(&name, now).await?.map(|at| at.saturating_sub(now).max(NOTED_MS)),
        };
        let wait = async {
            match next {
                Some(ms) => clock.sleep_ms(ms.min(SLICE_MS)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some((conversation, tried)) = sending.next() => {
                busy.remove(&conversation);
                if let Some(e) = tried.lost {
                    return Err(e);
                }
                if let Some(ms) = tried.pause_ms {
                    paused = Some(Moment::after(clock, ms));
                }
                if tried.gone {
                    gone = Some(Moment::after(clock, SLICE_MS));
                }
            }
            () = slot.outbox.notified() => {
                gone = None;
                unsettled = vec![OutboxState::Uncertain];
            }
            () = wait => {}
            () = cancel.cancelled(), if !cancel.is_cancelled() => {}
        }
    }
}

/// Decides about parts of which nobody knows whether they arrived: those that the last kernel was sending when it stopped, and those that
/// wait for the owner's word, which may stand in the configuration by now.
async fn settle_all(
    inner: &Inner,
    instance: &InstanceId,
    lease: &Lease,
    states: &[OutboxState],
) -> Result<(), StoreError> {
    let policy = inner.policy(instance).uncertain;
    let window = inner.channel(instance).map_or(0, |info| info.description.key_window_s);
    let now = inner.clock.now_ms();
    let mut batch = Batch::new().lease(lease.name.clone(), lease.token);
    for entry in inner.store.outbox_entries(Some(&instance.to_string()), states, MOST_ROWS).await? {
        let mut detail = Detail::of(&entry);
        let edited = match serde_json::from_value::<Addressed>(entry.row.part) {
            Ok(addressed) => inner.edited(&addressed, &detail).await,
            Err(_) => None,
        };
        // The same change twice is one.
        let state = if edited.is_some() { OutboxState::Pending } else { settle(policy, window, &detail, now) };
        if state == entry.row.state {
            continue;
        }
        if detail.error.is_none() {
            detail.error = Some("the kernel stopped while it was being sent".to_owned());
        }
        batch = batch.outbox_state(entry.row.id, detail.change(state, None));
    }
    if !batch.is_empty() {
        inner.store.commit(batch).await?;
    }
    Ok(())
}

/// Lets no part wait longer than it was put off for: when that is over was noted by a clock that may have been put back since. What was never
/// tried, nobody put off.
async fn put_right(
    inner: &Inner,
    instance: &InstanceId,
    lease: &Lease,
    busy: &HashMap<String, Ulid>,
) -> Result<(), StoreError> {
    let now = inner.clock.now_ms();
    let waiting = inner.store.outbox_entries(Some(&instance.to_string()), &[OutboxState::Pending], MOST_WRONG).await?;
    let mut batch = Batch::new().lease(lease.name.clone(), lease.token);
    for entry in waiting.iter().filter(|e| !busy.values().any(|id| *id == e.row.id)) {
        let detail = Detail::of(entry);
        let latest = now.saturating_add(detail.wait_ms);
        if entry.row.not_before_ms > latest {
            batch = batch.outbox_state(entry.row.id, detail.change(OutboxState::Pending, Some(latest)));
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    tracing::info!(%instance, "the clock was put back: parts that wait are tried in their time all the same");
    match inner.store.commit(batch).await {
        // The owner dropped one meanwhile.
        Err(e) if e.is_conflict() || e.is_missing() => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Gives up what nobody waits for any more.
async fn expire(inner: &Inner, name: &str, lease: &Lease, now_ms: u64) -> Result<(), StoreError> {
    let over = inner.store.outbox_expired(name, now_ms, MOST_ROWS).await?;
    if over.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new().lease(lease.name.clone(), lease.token);
    for row in &over {
        let entry = inner.store.outbox_entry(row.id).await?;
        let detail = entry.as_ref().map(Detail::of).unwrap_or_default();
        let error = match &detail.error {
            Some(error) => format!("its time was over; before that: {error}"),
            None => "its time was over before it could be sent".to_owned(),
        };
        let detail = Detail { error: Some(error), ..detail };
        batch = batch.outbox_state(row.id, detail.change(OutboxState::Dead, None));
    }
    tracing::warn!(instance = name, parts = over.len(), "parts were given up: their time was over");
    inner.store.commit(batch).await.map(|_| ())
}
