//! What waits for a client: bounded in frames and bytes, numbered without gaps, never thinned out in silence.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Bytes an event's envelope takes, roughly.
const ENVELOPE: usize = 80;

/// A frame on its way out.
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    /// A finished frame.
    Text(String),
    /// An event whose payload many connections share.
    Event { name: &'static str, payload: Arc<str>, seq: Option<u64> },
    /// The last one.
    Close { code: u16, reason: String },
}

impl Outgoing {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Event { payload, .. } => payload.len() + ENVELOPE,
            Self::Close { .. } => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Outgoing>,
    bytes: usize,
    seq: u64,
    closed: bool,
}

/// A connection's outbound queue.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    filled: Notify,
    max_frames: usize,
    max_bytes: usize,
    /// The client is too slow: stop writing what it does not read.
    pub(crate) stuck: CancellationToken,
}

impl Queue {
    pub(crate) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self { inner: Mutex::default(), filled: Notify::new(), max_frames, max_bytes, stuck: CancellationToken::new() }
    }

    /// A frame that must arrive.
    pub(crate) fn text(&self, text: String) {
        self.push(|_| Outgoing::Text(text));
    }

    /// An event that must arrive; it gets the connection's next number.
    pub(crate) fn event(&self, name: &'static str, payload: &Arc<str>) {
        self.push(|inner| {
            inner.seq += 1;
            Outgoing::Event { name, payload: Arc::clone(payload), seq: Some(inner.seq) }
        });
    }

    /// An event that may be left out when the client is behind: it carries no number. Tells whether it was queued.
    pub(crate) fn unimportant(&self, name: &'static str, payload: &Arc<str>) -> bool {
        {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.closed || inner.frames.len() * 2 >= self.max_frames || inner.bytes * 2 >= self.max_bytes {
                return false;
            }
        }
        self.push(|_| Outgoing::Event { name, payload: Arc::clone(payload), seq: None });
        true
    }

    /// Events were lost before they reached this queue: the client sees a gap in the numbers.
    pub(crate) fn skip(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).seq += 1;
    }

    /// What waits is still sent, then the connection ends.
    pub(crate) fn close(&self, code: u16, reason: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.closed {
            inner.closed = true;
            inner.frames.push_back(Outgoing::Close { code, reason: reason.to_owned() });
        }
        drop(inner);
        self.filled.notify_one();
    }

    fn push(&self, frame: impl FnOnce(&mut Inner) -> Outgoing) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.closed {
            return;
        }
        let frame = frame(&mut inner);
        let bytes = inner.bytes + frame.bytes();
        if inner.frames.len() >= self.max_frames || bytes > self.max_bytes {
            // Nothing is left out in silence: the connection ends, and says why.
            ::metrics::counter!("carapace_ws_dropped_total", "what" => "slow-consumer").increment(1);
            inner.closed = true;
            inner.frames.clear();
            inner.bytes = 0;
            inner.frames.push_back(Outgoing::Close { code: 1008, reason: "slow consumer".to_owned() });
            self.stuck.cancel();
        } else {
            inner.bytes = bytes;
            inner.frames.push_back(frame);
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// All that waits, as soon as something does.
    pub(crate) async fn take(&self) -> VecDeque<Outgoing> {
        loop {
            {
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                if !inner.frames.is_empty() {
                    inner.bytes = 0;
                    return std::mem::take(&mut inner.frames);
                }
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Arc<str> {
        "{}".into()
    }

    #[tokio::test]
    async fn numbers_have_no_gap_unless_something_was_lost() {
        let q = Queue::new(10, 1000);
        q.event("a", &payload());
        assert!(q.unimportant("tick", &payload()));
        q.event("a", &payload());
        q.skip();
        q.event("a", &payload());
        let seqs: Vec<_> =
            q.take().await.iter().map(|f| if let Outgoing::Event { seq, .. } = f { *seq } else { None }).collect();
        assert_eq!(seqs, vec![Some(1), None, Some(2), Some(4)]);
    }

    #[tokio::test]
    async fn a_client_that_falls_behind_is_closed_and_told_why() {
        for q in [Queue::new(4, 1 << 20), Queue::new(100, 300)] {
            for _ in 0..6 {
                q.event("a", &payload());
            }
            assert!(q.stuck.is_cancelled());
            let left = q.take().await;
            assert_eq!(left.len(), 1);
            assert!(matches!(&left[0], Outgoing::Close { code: 1008, reason } if reason == "slow consumer"));
        }
    }

    #[test]
    fn a_tick_is_left_out_when_the_client_is_behind() {
        let q = Queue::new(4, 1 << 20);
        q.event("a", &payload());
        assert!(q.unimportant("tick", &payload()));
        assert!(!q.unimportant("tick", &payload()));
        assert!(!q.stuck.is_cancelled());
    }

    #[tokio::test]
    async fn what_waits_is_sent_before_the_close() {
        let q = Queue::new(4, 1000);
        q.text("x".into());
        q.close(1001, "bye");
        q.text("too late".into());
        let left = q.take().await;
        assert!(matches!(&left[0], Outgoing::Text(t) if t == "x"));
        assert!(matches!(&left[1], Outgoing::Close { code: 1001, .. }));
        assert_eq!(left.len(), 2);
    }
}
