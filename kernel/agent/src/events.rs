//! A run's events: numbered without gaps, to the one who asked (with back-pressure) and to everyone (without).

use crate::clock::Clock;
use carapace_contract::Ulid;
use carapace_contract::turn::{TurnEvent, TurnEventKind};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

/// Events that may wait for a slow reader before the run waits for it.
pub(crate) const CAPACITY: usize = 256;

/// The sending side of one run.
pub(crate) struct Emitter {
    run: Ulid,
    session: Arc<str>,
    seq: u64,
    clock: Arc<dyn Clock>,
    reader: Option<Reader>,
    everyone: broadcast::Sender<Arc<TurnEvent>>,
}

struct Reader {
    sender: mpsc::Sender<Arc<TurnEvent>>,
    /// Kept for the last event, so that a reader that stopped reading cannot keep a run from ending.
    last: mpsc::OwnedPermit<Arc<TurnEvent>>,
}

/// A channel for one reader.
pub(crate) fn channel() -> (mpsc::Sender<Arc<TurnEvent>>, mpsc::Receiver<Arc<TurnEvent>>) {
    mpsc::channel(CAPACITY)
}

impl Emitter {
    /// For a run; a resumed one has no reader of its own.
    pub(crate) fn new(
        run: Ulid,
        session: Arc<str>,
        clock: Arc<dyn Clock>,
        reader: Option<mpsc::Sender<Arc<TurnEvent>>>,
        everyone: broadcast::Sender<Arc<TurnEvent>>,
    ) -> Self {
        let reader = reader.and_then(|sender| {
            let last = sender.clone().try_reserve_owned().ok()?;
            Some(Reader { sender, last })
        });
        Self { run, session, seq: 0, clock, reader, everyone }
    }

    fn stamp(&mut self, kind: TurnEventKind) -> Arc<TurnEvent> {
        let seq = self.seq;
        self.seq += 1;
        Arc::new(TurnEvent { run: self.run, session: Arc::clone(&self.session), seq, at_ms: self.clock.now_ms(), kind })
    }

    /// Sends. Waits while the reader is behind; dropped while it waits, it has sent nothing to anyone.
    pub(crate) async fn emit(&mut self, kind: TurnEventKind) {
        let permit = match &self.reader {
            // Cloned: the permit must not borrow what `stamp` changes.
            Some(reader) => reader.sender.clone().reserve_owned().await.ok(),
            None => None,
        };
        let event = self.stamp(kind);
        match permit {
            Some(permit) => drop(permit.send(Arc::clone(&event))),
            None => self.reader = None,
        }
        // Nobody listening is fine.
        let _ = self.everyone.send(event);
    }

    /// Sends the last event, at once.
    pub(crate) fn finish(mut self, kind: TurnEventKind) {
        let event = self.stamp(kind);
        if let Some(reader) = self.reader.take() {
            drop(reader.last.send(Arc::clone(&event)));
        }
        let _ = self.everyone.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use futures::FutureExt;

    fn text(n: usize) -> TurnEventKind {
        TurnEventKind::Text { delta: n.to_string() }
    }

    #[tokio::test]
    async fn a_slow_reader_slows_the_run_but_cannot_keep_it_from_ending() {
        let (tx, mut rx) = channel();
        let (all, mut every) = broadcast::channel(1_024);
        let mut e = Emitter::new(Ulid::nil(), "s".into(), Arc::new(SystemClock), Some(tx), all);
        for n in 0..CAPACITY - 1 {
            e.emit(text(n)).await;
        }
        let blocked = tokio::task::unconstrained(e.emit(text(999))).now_or_never();
        assert!(blocked.is_none(), "the channel is full");
        e.finish(TurnEventKind::Cancelled { text: String::new() });
        let mut seqs = Vec::new();
        while let Some(event) = rx.recv().await {
            seqs.push(event.seq);
            assert_eq!(every.recv().await.unwrap().seq, event.seq);
        }
        assert_eq!(seqs, (0..CAPACITY as u64).collect::<Vec<_>>(), "no gap where an event was given up");
    }

    #[tokio::test]
    async fn a_reader_that_left_is_forgotten() {
        let (tx, rx) = channel();
        let (all, mut every) = broadcast::channel(8);
        let mut e = Emitter::new(Ulid::nil(), "s".into(), Arc::new(SystemClock), Some(tx), all);
        drop(rx);
        e.emit(text(1)).await;
        e.finish(text(2));
        assert_eq!(every.recv().await.unwrap().seq, 0);
        assert_eq!(every.recv().await.unwrap().seq, 1);
    }
}
