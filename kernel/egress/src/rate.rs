//! Requests per minute of an instance: a token bucket.

use crate::error::EgressError;
use carapace_contract::InstanceId;
use carapace_contract::limits::raising;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// The buckets of all instances.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    buckets: Mutex<HashMap<InstanceId, Bucket>>,
}

impl Rates {
    /// Takes one request of `per_minute`, or says when the next is due.
    pub(crate) fn take(&self, instance: &InstanceId, per_minute: u32, now: Instant) -> Result<(), EgressError> {
        let capacity = f64::from(per_minute);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(instance.clone()).or_insert_with(|| Bucket { tokens: capacity, filled: now });
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * capacity / 60.0).min(capacity);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = if per_minute == 0 {
            "the limit is zero".to_owned()
        } else {
            let wait = Duration::from_secs_f64((1.0 - bucket.tokens) * 60.0 / capacity);
            format!("the next is free in {} ms", wait.as_millis().max(1))
        };
        Err(EgressError::Limit(format!(
            "{instance} has used its {per_minute} requests per minute; {wait}; {}",
            raising(instance, "httpRequestsPerMinute", per_minute.into())
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_is_spent_then_refilled_by_time() {
        let rates = Rates::default();
        let id: InstanceId = "a/b".parse().unwrap();
        let start = Instant::now();
        for _ in 0..60 {
            rates.take(&id, 60, start).unwrap();
        }
        let error = rates.take(&id, 60, start).unwrap_err();
        assert!(
            error.to_string().contains("60 requests per minute") && error.to_string().contains("1000 ms"),
            "{error}"
        );
        rates.take(&id, 60, start + Duration::from_secs(1)).unwrap();
        assert!(rates.take(&id, 60, start + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn instances_do_not_share_a_bucket() {
        let rates = Rates::default();
        let now = Instant::now();
        rates.take(&"a/b".parse().unwrap(), 1, now).unwrap();
        rates.take(&"a/b/other".parse().unwrap(), 1, now).unwrap();
        assert!(rates.take(&"a/b".parse().unwrap(), 1, now).is_err());
    }

    #[test]
    fn a_limit_of_zero_refuses_everything() {
        assert!(Rates::default().take(&"a/b".parse().unwrap(), 0, Instant::now()).is_err());
    }
}
