//! What today has cost, against the owner's caps.

use crate::clock::{Clock, utc_day};
use carapace_config::Budget;
use carapace_contract::completion::{ModelRef, Usage};
use carapace_contract::turn::TurnError;
use carapace_store::{Store, UsageRow};
use std::sync::{Arc, Mutex, PoisonError};

/// Today's totals, kept in memory and read from the store once a day.
pub(crate) struct Ledger {
    store: Store,
    clock: Arc<dyn Clock>,
    today: Mutex<Option<Today>>,
}

struct Today {
    day: String,
    tokens: u64,
    micros: u64,
}

impl Ledger {
    /// Reads nothing yet.
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, today: Mutex::new(None) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Today>> {
        self.today.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses when a cap is reached.
    pub(crate) async fn check(&self, budget: &Budget) -> Result<(), TurnError> {
        let day = utc_day(self.clock.now_ms());
        if self.lock().as_ref().is_none_or(|t| t.day != day) {
            let rows = self.store.usage(&day, &day).await.map_err(crate::problem::store)?;
            let mut today = self.lock();
            // Somebody else may have read it, and booked since.
            if today.as_ref().is_none_or(|t| t.day != day) {
                let tokens = rows.iter().map(|r| r.input + r.output).sum();
                let micros = rows.iter().map(|r| r.cost_micros).sum();
                *today = Some(Today { day, tokens, micros });
            }
        }
        let today = self.lock();
        let (tokens, micros) = today.as_ref().map_or((0, 0), |t| (t.tokens, t.micros));
        if let Some(cap) = budget.daily_tokens
            && tokens >= cap
        {
            return Err(over(
                format!("today's {cap} tokens are used up ({tokens} so far)"),
                format!("budget: {{ dailyTokens: {} }}", (cap * 2).max(1_000)),
            ));
        }
        if let Some(cap) = budget.daily_usd
            && micros as f64 / 1e6 >= cap
        {
            return Err(over(
                format!("today's ${cap:.2} are spent (${:.2} so far)", micros as f64 / 1e6),
                format!("budget: {{ dailyUsd: {:.2} }}", (cap * 2.0).max(1.0)),
            ));
        }
        Ok(())
    }

    /// The row for what a completion used; counted from now on, stored with the caller's next commit.
    pub(crate) fn book(&self, budget: &Budget, model: &ModelRef, usage: Usage) -> UsageRow {
        let now = utc_day(self.clock.now_ms());
        let cost_micros = budget.price(model).map_or(0, |price| {
            // US dollars per million tokens are micro-dollars per token.
            let cost = price.input_per_m_tok * usage.input as f64 + price.output_per_m_tok * usage.output as f64;
            cost.ceil().max(0.0) as u64
        });
        let mut today = self.lock();
        if let Some(t) = today.as_mut()
            && t.day == now
        {
            t.tokens = t.tokens.saturating_add(usage.input).saturating_add(usage.output);
            t.micros = t.micros.saturating_add(cost_micros);
        }
        UsageRow {
            day: now,
            instance: model.instance.to_string(),
            model: model.model.clone(),
            input: usage.input,
            output: usage.output,
            cached: usage.cached_input,
            reasoning: usage.reasoning,
            cost_micros,
            requests: 1,
        }
    }
}

fn over(what: String, line: String) -> TurnError {
    crate::problem::turn(
        "E-BUDGET-001",
        format!("{what}; wait until midnight UTC, or raise the cap in carapace.json5: `{line}`"),
        false,
    )
}
