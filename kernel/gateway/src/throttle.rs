//! Token buckets: one per connection for messages, one per address for wrong tokens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses remembered at once; one that has recovered is forgotten first.
const ADDRESSES: usize = 4_096;

/// A bucket of `burst` tokens that refills at `per_second`.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(burst: u32, per_second: f64, now: Instant) -> Self {
        Self { tokens: f64::from(burst), burst: f64::from(burst), per_second, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.at = now;
    }

    /// Whether a token is there; if not, how long until one is.
    pub(crate) fn peek(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens >= 1.0 {
            return Ok(());
        }
        Err(Duration::from_secs_f64(((1.0 - self.tokens) / self.per_second.max(1e-6)).min(3_600.0)))
    }

    /// Takes a token.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.peek(now)?;
        self.tokens -= 1.0;
        Ok(())
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= self.burst
    }
}

/// Buckets by address.
#[derive(Debug)]
pub(crate) struct Throttle {
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
    burst: u32,
    per_second: f64,
}

impl Throttle {
    pub(crate) fn new(burst: u32, per_minute: u32) -> Self {
        Self { buckets: Mutex::default(), burst, per_second: f64::from(per_minute) / 60.0 }
    }

    /// Whether the address may try; if not, how long it has to wait.
    pub(crate) fn may_try(&self, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.get_mut(&peer).map_or(Ok(()), |b| b.peek(now))
    }

    /// Books a failed attempt.
    pub(crate) fn failed(&self, peer: IpAddr, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&peer) {
            buckets.retain(|_, b| !b.is_full(now));
            if buckets.len() >= ADDRESSES {
                buckets.clear();
            }
        }
        // An empty bucket stays empty: `may_try` has refused before.
        let _ = buckets.entry(peer).or_insert_with(|| Bucket::new(self.burst, self.per_second, now)).take(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_what_flows_in() {
        let start = Instant::now();
        let mut b = Bucket::new(2, 1.0, start);
        assert!(b.take(start).is_ok());
        assert!(b.take(start).is_ok());
        let wait = b.take(start).unwrap_err();
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(900), "{wait:?}");
        assert!(b.take(start + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn an_address_that_failed_too_often_waits_and_others_do_not() {
        let start = Instant::now();
        let t = Throttle::new(3, 60);
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        for _ in 0..3 {
            assert!(t.may_try(a, start).is_ok());
            t.failed(a, start);
        }
        assert!(t.may_try(a, start).is_err());
        assert!(t.may_try(b, start).is_ok());
        assert!(t.may_try(a, start + Duration::from_secs(2)).is_ok());
    }

    #[test]
    fn the_table_of_addresses_does_not_grow_without_end() {
        let now = Instant::now();
        let t = Throttle::new(3, 60);
        for i in 0..10_000_u32 {
            t.failed(IpAddr::from(i.to_be_bytes()), now);
        }
        assert!(t.buckets.lock().unwrap().len() <= ADDRESSES);
    }
}
