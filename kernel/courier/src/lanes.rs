//! Lanes: the messages of one conversation are worked on in the order in which they were accepted, one after the other.

use crate::answer::{Progress, Step};
use crate::chance::back_off;
use crate::courier::Inner;
use carapace_contract::InstanceId;
use carapace_store::Ulid;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore};

/// Conversations that are worked on at once; the assistant has a limit of its own below it.
const MOST_LANES: usize = 256;
/// Messages of an instance that may wait. With more, polls pause and webhooks are told to come again.
const MOST_WAITING: usize = 1_000;

/// A message in the inbox.
#[derive(Debug, Clone)]
struct Waiting {
    id: Ulid,
    instance: InstanceId,
}

#[derive(Default)]
struct Queues {
    /// By session; a lane that is worked on has an entry, empty or not.
    lanes: HashMap<String, VecDeque<Waiting>>,
    waiting: HashMap<InstanceId, usize>,
}

/// All lanes.
pub(crate) struct Lanes {
    queues: Mutex<Queues>,
    room: Notify,
    /// What a lane waits for may have come.
    again: Notify,
    permits: Semaphore,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            queues: Mutex::default(),
            room: Notify::new(),
            again: Notify::new(),
            permits: Semaphore::new(MOST_LANES),
        }
    }
}

impl Lanes {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many of an instance's messages wait that no more should be taken in.
    pub(crate) fn is_full(&self, instance: &InstanceId) -> bool {
        self.queues().waiting.get(instance).is_some_and(|n| *n >= MOST_WAITING)
    }

    /// Waits until more may be taken in.
    pub(crate) async fn room(&self, instance: &InstanceId) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if !self.is_full(instance) {
                return;
            }
            room.await;
        }
    }

    /// Something changed that a lane may wait for: a channel was loaded.
    pub(crate) fn look_again(&self) {
        self.again.notify_waiters();
    }

    /// Whether the lane is new: somebody has to work on it.
    fn push(&self, session: &str, waiting: Waiting) -> bool {
        let mut queues = self.queues();
        *queues.waiting.entry(waiting.instance.clone()).or_default() += 1;
        match queues.lanes.get_mut(session) {
            Some(lane) => {
                lane.push_back(waiting);
                false
            }
            None => {
                queues.lanes.insert(session.to_owned(), VecDeque::from([waiting]));
                true
            }
        }
    }

    /// The next message of a lane; the lane ends where there is none.
    fn next(&self, session: &str) -> Option<Waiting> {
        let mut queues = self.queues();
        let next = queues.lanes.get_mut(session)?.pop_front();
        if next.is_none() {
            queues.lanes.remove(session);
        }
        next
    }

    fn done(&self, instance: &InstanceId) {
        let mut queues = self.queues();
        if let Some(n) = queues.waiting.get_mut(instance) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                queues.waiting.remove(instance);
            }
        }
        drop(queues);
        self.room.notify_waiters();
    }
}

impl Inner {
    /// Puts a durable message in its lane.
    pub(crate) fn enqueue(self: &Arc<Self>, id: Ulid, instance: InstanceId, session: String) {
        if self.lanes.push(&session, Waiting { id, instance }) {
            let inner = Arc::clone(self);
            self.spawn(async move { inner.lane(&session).await });
        }
    }

    async fn lane(self: &Arc<Self>, session: &str) {
        while let Some(waiting) = self.lanes.next(session) {
            if self.stopping.is_cancelled() || !self.carry_through(&waiting, session).await {
                // The kernel stops: what waits is in the inbox, and is found there by the next start.
                return;
            }
            self.lanes.done(&waiting.instance);
        }
    }

    /// Works on a message until it is done or given up; `false` if the kernel stops before.
    async fn carry_through(self: &Arc<Self>, waiting: &Waiting, session: &str) -> bool {
        let mut failures = 0;
        let mut progress = Progress::default();
        loop {
            let again = self.lanes.again.notified();
            tokio::pin!(again);
            again.as_mut().enable();
            // Not held while it waits for something: the lanes of a channel that is not there must not stand in the way of others.
            let Ok(permit) = self.lanes.permits.acquire().await else { return false };
            let step = self.step(waiting.id, &waiting.instance, session, &mut progress).await;
            drop(permit);
            match step {
                Step::Done => return true,
                Step::Again(why) => {
                    failures += 1;
                    tracing::debug!(id = %waiting.id, why, "a message has to wait");
                    tokio::select! {
                        biased;
                        () = self.stopping.cancelled() => return false,
                        () = again => {}
                        () = self.clock.sleep_ms(back_off(failures, 500, 60_000)) => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn there_is_room_again_when_a_message_is_done() {
        let lanes = Lanes::default();
        let instance: InstanceId = "local/chat/main".parse().unwrap();
        let waiting = || Waiting { id: Ulid::generate(), instance: instance.clone() };
        assert!(lanes.push("s", waiting()));
        for _ in 1..MOST_WAITING {
            assert!(!lanes.push("s", waiting()));
        }
        let room = lanes.room(&instance);
        tokio::pin!(room);
        assert!(room.as_mut().now_or_never().is_none());
        assert!(lanes.room(&"local/other/main".parse().unwrap()).now_or_never().is_some());
        lanes.done(&instance);
        room.await;
        while lanes.next("s").is_some() {}
        assert!(lanes.push("s", waiting()), "an empty lane ended");
    }
}
