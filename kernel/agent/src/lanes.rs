//! One run at a time per session, in the order in which they were accepted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, OwnedMutexGuard};

/// The queues of all sessions.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<Arc<str>, Lane>>,
}

#[derive(Default)]
struct Lane {
    door: Arc<tokio::sync::Mutex<()>>,
    waiting: VecDeque<Arc<Notify>>,
}

/// A place in a session's queue; leaving it (by dropping) lets the next one go.
pub(crate) struct Place {
    lanes: Arc<Lanes>,
    session: Arc<str>,
    ticket: Arc<Notify>,
}

/// Holding it, nobody else is accepted in that session: the order of the log is the order of the queue.
pub(crate) struct Door {
    lanes: Arc<Lanes>,
    session: Arc<str>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Lanes {
    /// Waits for the door of a session.
    pub(crate) async fn door(self: &Arc<Self>, session: Arc<str>) -> Door {
        let door = {
            let mut lanes = self.lock();
            Arc::clone(&lanes.entry(Arc::clone(&session)).or_default().door)
        };
        // Made first: if this future is dropped while it waits, the lane is still swept.
        let mut out = Door { lanes: Arc::clone(self), session, guard: None };
        out.guard = Some(door.lock_owned().await);
        out
    }

    /// Runs that wait or run in a session.
    pub(crate) fn length(&self, session: &str) -> usize {
        self.lock().get(session).map_or(0, |l| l.waiting.len())
    }

    /// Takes the last place.
    pub(crate) fn enter(self: &Arc<Self>, session: Arc<str>) -> Place {
        let ticket = Arc::new(Notify::new());
        self.lock().entry(Arc::clone(&session)).or_default().waiting.push_back(Arc::clone(&ticket));
        Place { lanes: Arc::clone(self), session, ticket }
    }

    fn sweep(lanes: &mut HashMap<Arc<str>, Lane>, session: &str) {
        if lanes.get(session).is_some_and(|l| l.waiting.is_empty() && Arc::strong_count(&l.door) == 1) {
            lanes.remove(session);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.guard = None;
        Lanes::sweep(&mut self.lanes.lock(), &self.session);
    }
}

impl Place {
    /// Waits until everyone before has left.
    pub(crate) async fn first(&self) {
        loop {
            {
                let lanes = self.lanes.lock();
                let front = lanes.get(&self.session).and_then(|l| l.waiting.front());
                if front.is_none_or(|f| Arc::ptr_eq(f, &self.ticket)) {
                    return;
                }
            }
            self.ticket.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get_mut(&self.session) {
            lane.waiting.retain(|t| !Arc::ptr_eq(t, &self.ticket));
            if let Some(next) = lane.waiting.front() {
                next.notify_one();
            }
        }
        Lanes::sweep(&mut lanes, &self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn places_are_served_in_order_and_leaving_the_middle_lets_nobody_pass() {
        let lanes = Arc::new(Lanes::default());
        let s: Arc<str> = "s".into();
        let (a, b, c) = (lanes.enter(s.clone()), lanes.enter(s.clone()), lanes.enter(s.clone()));
        assert!(a.first().now_or_never().is_some());
        assert!(b.first().now_or_never().is_none());
        drop(b);
        assert!(c.first().now_or_never().is_none());
        drop(a);
        c.first().await;
        assert_eq!(lanes.length("s"), 1);
        drop(c);
        assert!(lanes.lock().is_empty(), "nothing is kept for an idle session");
    }

    #[tokio::test]
    async fn the_door_of_one_session_does_not_close_another() {
        let lanes = Arc::new(Lanes::default());
        let a = lanes.door("a".into()).await;
        assert!(lanes.door("a".into()).now_or_never().is_none());
        let b = lanes.door("b".into()).await;
        drop((a, b));
        lanes.door("a".into()).await;
        assert!(lanes.lock().is_empty());
    }
}
