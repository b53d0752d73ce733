//! How often a channel's sockets logged in: platforms that count fresh logins lock out who makes too many, for good.

use crate::courier::Inner;
use carapace_contract::{EndpointName, InstanceId};
use carapace_store::{Batch, StoreError};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const HOUR_MS: u64 = 3_600_000;
/// So many whole hours a login is counted, and the rest of its own: what is counted is never less than what the last 24 hours saw.
const HOURS: u64 = 24;

/// Logins by the hour.
#[derive(Debug, Default, PartialEq, Eq)]
struct Logins(BTreeMap<u64, u64>);

impl Logins {
    fn load(body: &Value) -> Self {
        let hours = body.as_object().into_iter().flatten();
        Self(hours.filter_map(|(hour, n)| Some((hour.parse().ok()?, n.as_u64()?))).collect())
    }

    fn body(&self) -> Value {
        Value::Object(self.0.iter().map(|(hour, n)| (hour.to_string(), json!(n))).collect())
    }

    /// Counts one more.
    ///
    /// # Errors
    /// There were as many as there may be: when the oldest of them no longer counts, ms since the epoch.
    fn take(&mut self, most: u32, now_ms: u64) -> Result<(), u64> {
        let now = now_ms / HOUR_MS;
        // One that lies in the future was counted by a clock that has been put back; it counts all the same, and for as long.
        self.0.retain(|hour, _| hour + HOURS >= now);
        if self.0.values().sum::<u64>() >= u64::from(most) {
            let oldest = self.0.keys().next().copied().unwrap_or(now);
            return Err((oldest + HOURS + 1) * HOUR_MS);
        }
        *self.0.entry(now).or_default() += 1;
        Ok(())
    }
}

/// Counts a login before it happens. Durable: a kernel that is started again and again counts on.
///
/// # Errors
/// The store cannot be read or written.
pub(crate) async fn take(
    inner: &Inner,
    instance: &InstanceId,
    endpoint: &EndpointName,
    most: u32,
) -> Result<Result<(), u64>, StoreError> {
    let mut all = match inner.store.channel_logins(instance).await? {
        Value::Object(all) => all,
        _ => serde_json::Map::new(),
    };
    let mut logins = Logins::load(all.get(endpoint.as_str()).unwrap_or(&Value::Null));
    if let Err(free_ms) = logins.take(most, inner.clock.now_ms()) {
        return Ok(Err(free_ms));
    }
    all.insert(endpoint.to_string(), logins.body());
    inner.store.commit(Batch::new().channel_logins(instance.clone(), Value::Object(all))).await?;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_counts_for_a_day_and_the_rest_of_its_hour() {
        let mut logins = Logins::default();
        let noon = 500_000 * HOUR_MS + 1;
        for n in 0..3 {
            logins.take(4, noon + n).unwrap();
        }
        logins = Logins::load(&logins.body());
        logins.take(4, noon + 5 * HOUR_MS).unwrap();
        let free = logins.take(4, noon + 6 * HOUR_MS).unwrap_err();
        assert_eq!(free, 500_025 * HOUR_MS);
        assert!(logins.take(4, free - 1).is_err());
        logins.take(4, free).unwrap();
        assert_eq!(Logins::load(&json!({ "x": 1, "7": "y" })), Logins::default(), "damage counts as nothing");
    }
}
