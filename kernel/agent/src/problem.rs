//! Why a turn was not accepted or did not end well, in words for its owner. Codes are stable.

use carapace_contract::Denial;
use carapace_contract::completion::{CompletionFailure, FailureKind, ModelRef};
use carapace_contract::turn::TurnError;
use carapace_store::StoreError;

/// The one way to make one.
pub(crate) fn turn(code: &str, message: impl Into<String>, retryable: bool) -> TurnError {
    TurnError { code: code.to_owned(), message: message.into(), retryable }
}

/// The store refused or failed.
pub(crate) fn store(e: StoreError) -> TurnError {
    turn("E-TURN-020", format!("the turn's state could not be read or written: {e}"), e.is_full() || e.is_closed())
}

/// Something was refused.
pub(crate) fn denied(d: &Denial) -> TurnError {
    let fix = if d.fix.is_empty() { String::new() } else { format!("; to allow it: {}", d.fix) };
    turn(&d.code, format!("{}{fix}", d.message), false)
}

/// The last model of the route failed.
pub(crate) fn completion(model: &ModelRef, tried: usize, f: &CompletionFailure) -> TurnError {
    let code = match f.kind {
        FailureKind::Authentication => "E-MODEL-001",
        FailureKind::RateLimited => "E-MODEL-002",
        FailureKind::InvalidRequest => "E-MODEL-003",
        FailureKind::ContextLength => "E-MODEL-004",
        FailureKind::UnknownModel => "E-MODEL-005",
        FailureKind::Unavailable => "E-MODEL-006",
        FailureKind::Interrupted => "E-MODEL-007",
        FailureKind::Cancelled => "E-MODEL-008",
        FailureKind::Component => "E-MODEL-009",
        FailureKind::Other(_) => "E-MODEL-010",
    };
    let others = if tried > 1 { format!(" (the last of {tried} models that were tried)") } else { String::new() };
    let advice = match f.kind {
        FailureKind::Authentication => {
            format!("; store its credential with `carapace secrets set NAME --instance {}`", model.instance)
        }
        FailureKind::UnknownModel => {
            "; `carapace status` lists what there is, `agent: { route: [..] }` in carapace.json5 chooses".to_owned()
        }
        FailureKind::RateLimited | FailureKind::Unavailable | FailureKind::Interrupted => {
            "; try again later, or add another model to `agent: { route: [..] }` in carapace.json5".to_owned()
        }
        _ => String::new(),
    };
    turn(code, format!("{model}{others} gave no answer: {}{advice}", f.message), f.retryable)
}
