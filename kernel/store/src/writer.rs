//! The one writer: a thread that drains its queue, applies what waits as one transaction with one fsync, and answers everyone.

use crate::apply::{self, Refused};
use crate::batch::{Batch, Durability, Receipt};
use crate::chain::ChainKey;
use crate::clock::Clock;
use crate::error::{Attempt, StoreError};
use crate::files::Lock;
use crate::rows::{Lease, StoreStats};
use crate::secrets::Slot;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// The most batches in one transaction: bounds how long the first of them waits for the others.
const MAX_GROUP: usize = 256;
/// Groups between two looks at the write-ahead log; the look happens only when nothing waits.
const CHECKPOINT_EVERY: u32 = 256;

/// Something to do in a transaction. Applied by reference: a group that fails as a whole is applied again one by one.
#[derive(Debug)]
pub(crate) enum Task {
    Batch(Batch),
    LeaseAcquire { name: String, holder: String, ttl_ms: u64 },
    LeaseRenew { name: String, token: u64, ttl_ms: u64 },
    LeaseRelease { name: String, token: u64 },
    Slot { slot: Slot, first: bool },
    ForgetSecrets,
}

#[derive(Debug)]
pub(crate) enum Reply {
    Receipt(Receipt),
    Lease(Lease),
    Done,
}

type Outcome = Result<Reply, StoreError>;

enum Message {
    Work(Work),
    Close(oneshot::Sender<()>),
}

struct Work {
    task: Task,
    durability: Durability,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    refused: AtomicU64,
    largest_group: AtomicU64,
    last_commit_us: AtomicU64,
}

pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    counters: Arc<Counters>,
}

impl Writer {
    pub(crate) fn start(
        conn: Connection,
        lock: Lock,
        key: ChainKey,
        clock: Clock,
        queue: usize,
        dir: &Path,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(queue);
        let counters = Arc::<Counters>::default();
        let body = Body { conn, key, clock, counters: Arc::clone(&counters), synchronous: Durability::Full, quiet: 0 };
        std::thread::Builder::new()
            .name("store-write".into())
            .spawn(move || body.run(receiver, lock))
            .map_err(|e| StoreError::io("start the writer thread for", dir, e))?;
        Ok(Self { queue: sender, counters })
    }

    pub(crate) async fn ask(&self, task: Task, durability: Durability) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let work = Message::Work(Work { task, durability, answer });
        self.queue.send(work).await.map_err(|_| StoreError::Closed)?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    pub(crate) async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.queue.send(Message::Close(answer)).await.is_ok() {
            let _ = done.await;
        }
        // Somebody else's close may still be finishing: the queue is gone only when the file is.
        self.queue.closed().await;
    }

    pub(crate) fn stats(&self) -> StoreStats {
        let c = &self.counters;
        StoreStats {
            commits: c.commits.load(Relaxed),
            batches: c.batches.load(Relaxed),
            refused: c.refused.load(Relaxed),
            largest_group: c.largest_group.load(Relaxed),
            last_commit_us: c.last_commit_us.load(Relaxed),
            queued: (self.queue.max_capacity() - self.queue.capacity()) as u64,
        }
    }
}

struct Body {
    conn: Connection,
    key: ChainKey,
    clock: Clock,
    counters: Arc<Counters>,
    synchronous: Durability,
    quiet: u32,
}

impl Body {
    fn run(mut self, mut queue: mpsc::Receiver<Message>, lock: Lock) {
        let mut closing = None;
        let mut group = Vec::new();
        while closing.is_none() {
            let Some(first) = queue.blocking_recv() else { break };
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Work(work) => group.push(work),
                    Message::Close(answer) => {
                        closing = Some(answer);
                        break;
                    }
                }
                if group.len() < MAX_GROUP {
                    next = queue.try_recv().ok();
                }
            }
            self.process(std::mem::take(&mut group));
            if queue.is_empty() {
                self.tidy();
            }
        }
        let Self { conn, .. } = self;
        if let Err(e) = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(error = %e, "the write-ahead log stays beside the database; the next start takes it in");
        }
        if let Err((_, e)) = conn.close() {
            tracing::warn!(error = %e, "closing the database");
        }
        drop(lock);
        drop(queue);
        if let Some(answer) = closing {
            let _ = answer.send(());
        }
    }

    /// Moves the write-ahead log into the file while nobody waits.
    fn tidy(&mut self) {
        self.quiet += 1;
        if self.quiet >= CHECKPOINT_EVERY {
            self.quiet = 0;
            if let Err(e) = self.conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)") {
                tracing::warn!(error = %e, "moving the write-ahead log into the database");
            }
        }
    }

    fn process(&mut self, group: Vec<Work>) {
        match self.transact(&group) {
            Ok(outcomes) => {
                for (work, outcome) in group.into_iter().zip(outcomes) {
                    self.answer(work, outcome);
                }
            }
            Err(e) if group.len() == 1 => {
                for work in group {
                    self.answer(work, Err(e.clone()));
                }
            }
            // The transaction failed as a whole: what caused it must not take the others along.
            Err(_) => {
                for work in group {
                    let outcome = self.transact(std::slice::from_ref(&work)).map(|mut o| o.pop());
                    self.answer(work, outcome.and_then(|o| o.unwrap_or(Err(StoreError::Closed))));
                }
            }
        }
    }

    fn answer(&self, work: Work, outcome: Outcome) {
        let counter = if outcome.is_ok() { &self.counters.batches } else { &self.counters.refused };
        counter.fetch_add(1, Relaxed);
        let _ = work.answer.send(outcome);
    }

    fn transact(&mut self, group: &[Work]) -> Result<Vec<Outcome>, StoreError> {
        let Some(durability) = group.iter().map(|w| w.durability).max() else { return Ok(Vec::new()) };
        let begun = Instant::now();
        self.synchronous(durability)?;
        self.conn.execute_batch("BEGIN IMMEDIATE").attempt("begin a transaction")?;
        let outcome = self.apply_all(group).and_then(|o| self.run_cached("COMMIT", "commit").map(|()| o));
        if outcome.is_err() && !self.conn.is_autocommit() {
            self.run_cached("ROLLBACK", "roll back")?;
        }
        if outcome.is_ok() {
            let c = &self.counters;
            c.commits.fetch_add(1, Relaxed);
            c.largest_group.fetch_max(group.len() as u64, Relaxed);
            if durability == Durability::Full {
                c.last_commit_us.store(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
            }
        }
        outcome
    }

    /// An error here means that the whole transaction is gone, not just one batch.
    fn apply_all(&self, group: &[Work]) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(group.len());
        for work in group {
            self.run_cached("SAVEPOINT batch", "begin a batch")?;
            let outcome = apply::task(&self.conn, &self.key, self.clock.now_ms(), &work.task);
            if outcome.is_err() {
                if self.conn.is_autocommit() {
                    return Err(match outcome {
                        Err(Refused::Error(e)) => e,
                        _ => StoreError::Closed,
                    });
                }
                self.run_cached("ROLLBACK TO batch", "roll back a batch")?;
            }
            self.run_cached("RELEASE batch", "end a batch")?;
            outcomes.push(match outcome {
                Ok(reply) => Ok(reply),
                Err(Refused::Duplicate(of)) => {
                    Ok(Reply::Receipt(Receipt { duplicate_of: Some(of), ..Receipt::default() }))
                }
                Err(Refused::Error(e)) => Err(e),
            });
        }
        Ok(outcomes)
    }

    fn run_cached(&self, sql: &str, what: &str) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql).and_then(|mut s| s.execute([])).attempt(what).map(|_| ())
    }

    fn synchronous(&mut self, durability: Durability) -> Result<(), StoreError> {
        if self.synchronous != durability {
            let level = if durability == Durability::Full { "FULL" } else { "NORMAL" };
            self.conn.pragma_update(None, "synchronous", level).attempt("set the durability")?;
            self.synchronous = durability;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuditRow, LogRow, Ulid};
    use std::sync::atomic::AtomicUsize;

    fn body() -> Body {
        let mut conn = Connection::open_in_memory().unwrap();
        crate::schema::migrate(&mut conn, Path::new(":memory:")).unwrap();
        let key = ChainKey::generate().unwrap();
        crate::chain::adopt(&conn, &key, false, 0).unwrap();
        let (clock, counters) = (Clock::system(), Arc::default());
        Body { conn, key, clock, counters, synchronous: Durability::Full, quiet: 0 }
    }

    fn work(n: u64) -> (Work, oneshot::Receiver<Outcome>) {
        let row = LogRow {
            id: Ulid::generate(),
            session: "main".into(),
            run: None,
            kind: "note".into(),
            content: n.into(),
            tainted: false,
            at_ms: n,
        };
        let fact = AuditRow { kind: "note".into(), subject: "main".into(), detail: n.into(), at_ms: n };
        let (answer, outcome) = oneshot::channel();
        (
            Work { task: Task::Batch(Batch::new().append(row).audit(fact)), durability: Durability::Full, answer },
            outcome,
        )
    }

    #[test]
    fn a_transaction_that_fails_as_a_whole_is_tried_again_batch_by_batch() {
        let mut body = body();
        // The commit of the group fails, and that of the second batch alone.
        let commits = AtomicUsize::new(0);
        let hook = move || matches!(commits.fetch_add(1, Relaxed), 0 | 2);
        body.conn.commit_hook(Some(hook)).unwrap();
        let (group, outcomes): (Vec<_>, Vec<_>) = (0..3).map(work).unzip();
        body.process(group);
        let answers: Vec<bool> = outcomes.into_iter().map(|o| o.blocking_recv().unwrap().is_ok()).collect();
        assert_eq!(answers, [true, false, true]);
        let report = crate::verify::verify(&body.conn, &body.key).unwrap();
        assert_eq!((report.rows, report.first_broken), (4, None));
        let (batches, refused) = (body.counters.batches.load(Relaxed), body.counters.refused.load(Relaxed));
        assert_eq!((batches, refused), (2, 1));
    }
}
