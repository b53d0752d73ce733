//! Run ids as clients know them. In the protocol a run's id is the idempotency key its client sent; here a run is a
//! ULID. This table knows both, for the last runs.

use carapace_contract::Ulid;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};

/// Runs remembered.
const REMEMBERED: usize = 10_000;

#[derive(Debug, Default)]
struct Inner {
    by_key: HashMap<String, Ulid>,
    by_run: HashMap<Ulid, (Arc<str>, Arc<str>)>,
    order: VecDeque<Ulid>,
    pending_keys: HashMap<String, usize>,
    pending_sessions: HashMap<String, usize>,
    /// The end of the line of turns being submitted to a session.
    line: HashMap<String, oneshot::Receiver<()>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Runs {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Default for Runs {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Runs {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is submitting a turn: its run is not known yet, but events of it may already come.
    pub(crate) fn begin(self: &Arc<Self>, key: &str, session: &str) -> Pending {
        let mut inner = self.lock();
        *inner.pending_keys.entry(key.to_owned()).or_default() += 1;
        *inner.pending_sessions.entry(session.to_owned()).or_default() += 1;
        let (done, next) = oneshot::channel();
        let before = inner.line.insert(session.to_owned(), next);
        Pending { runs: Arc::clone(self), key: key.to_owned(), session: session.to_owned(), before, _done: done }
    }

    /// Changes whenever a pending turn is settled.
    pub(crate) fn settled(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether events of this run must wait for its key.
    pub(crate) fn is_unsettled(&self, run: Ulid, session: &str) -> bool {
        let inner = self.lock();
        !inner.by_run.contains_key(&run) && inner.pending_sessions.contains_key(session)
    }

    /// A run's id for clients.
    pub(crate) fn name(&self, run: Ulid) -> Arc<str> {
        self.lock().by_run.get(&run).map_or_else(|| run.to_string().into(), |(key, _)| Arc::clone(key))
    }

    /// The session a run was submitted to, if it was submitted here.
    pub(crate) fn session(&self, run: Ulid) -> Option<Arc<str>> {
        self.lock().by_run.get(&run).map(|(_, session)| Arc::clone(session))
    }

    /// The run a client means, waiting for one that is just being submitted.
    pub(crate) async fn find(&self, name: &str) -> Option<Ulid> {
        let mut settled = self.settled();
        loop {
            {
                let inner = self.lock();
                if let Some(run) = inner.by_key.get(name) {
                    return Some(*run);
                }
                if !inner.pending_keys.contains_key(name) {
                    return Ulid::from_string(name).ok();
                }
            }
            if settled.changed().await.is_err() {
                return None;
            }
        }
    }
}

/// A turn being submitted.
#[derive(Debug)]
pub(crate) struct Pending {
    runs: Arc<Runs>,
    key: String,
    session: String,
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl Pending {
    /// Waits until the turns that came before it in its session were accepted: a session's messages keep the order in
    /// which they were sent.
    pub(crate) async fn turn(&mut self) {
        if let Some(before) = self.before.take() {
            // An error means that the one before is through.
            let _ = before.await;
        }
    }

    /// It was accepted as this run.
    pub(crate) fn settle(self, run: Ulid) {
        let mut inner = self.runs.lock();
        if inner.by_run.insert(run, (self.key.as_str().into(), self.session.as_str().into())).is_none() {
            inner.order.push_back(run);
        }
        inner.by_key.insert(self.key.clone(), run);
        if inner.order.len() > REMEMBERED
            && let Some(old) = inner.order.pop_front()
            && let Some((key, _)) = inner.by_run.remove(&old)
        {
            inner.by_key.remove(&*key);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut inner = self.runs.lock();
        let Inner { pending_keys, pending_sessions, line, .. } = &mut *inner;
        for (table, name) in [(pending_keys, &self.key), (pending_sessions, &self.session)] {
            if let Some(n) = table.get_mut(name) {
                *n -= 1;
                if *n == 0 {
                    table.remove(name);
                }
            }
        }
        if !pending_sessions.contains_key(&self.session) {
            line.remove(&self.session);
        }
        drop(inner);
        self.runs.changed.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_is_found_by_its_clients_key_and_by_its_own_id() {
        let runs = Arc::new(Runs::default());
        let run = Ulid::generate();
        runs.begin("k", "s").settle(run);
        assert_eq!(runs.find("k").await, Some(run));
        assert_eq!(runs.find(&run.to_string()).await, Some(run));
        assert_eq!(&*runs.name(run), "k");
        assert_eq!(runs.session(run).as_deref(), Some("s"));
        assert_eq!(runs.find("other").await, None);
    }

    #[tokio::test]
    async fn a_wait_for_a_turn_being_submitted_waits_for_its_run() {
        let runs = Arc::new(Runs::default());
        let pending = runs.begin("k", "s");
        let run = Ulid::generate();
        assert!(runs.is_unsettled(run, "s"));
        assert!(!runs.is_unsettled(run, "another"));
        let waits = tokio::spawn({
            let runs = Arc::clone(&runs);
            async move { runs.find("k").await }
        });
        tokio::task::yield_now().await;
        pending.settle(run);
        assert_eq!(waits.await.unwrap(), Some(run));
        assert!(!runs.is_unsettled(run, "s"));
    }

    #[tokio::test]
    async fn turns_of_a_session_go_in_the_order_they_came() {
        let runs = Arc::new(Runs::default());
        let mut first = runs.begin("1", "s");
        let mut second = runs.begin("2", "s");
        let mut elsewhere = runs.begin("3", "t");
        first.turn().await;
        elsewhere.turn().await;
        let mut waits = std::pin::pin!(second.turn());
        assert!(futures::poll!(&mut waits).is_pending());
        drop(first);
        waits.await;
    }

    #[tokio::test]
    async fn a_turn_that_is_not_accepted_leaves_nothing() {
        let runs = Arc::new(Runs::default());
        drop(runs.begin("k", "s"));
        assert_eq!(runs.find("k").await, None);
        assert!(!runs.is_unsettled(Ulid::generate(), "s"));
    }

    #[test]
    fn the_table_forgets_its_oldest() {
        let runs = Arc::new(Runs::default());
        for i in 0..REMEMBERED + 5 {
            runs.begin(&i.to_string(), "s").settle(Ulid::generate());
        }
        let inner = runs.lock();
        assert_eq!((inner.by_key.len(), inner.by_run.len(), inner.order.len()), (REMEMBERED, REMEMBERED, REMEMBERED));
    }
}
