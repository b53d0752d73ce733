//! What a turn's stable error code means to a client that knows other words for it.

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The request cannot be run as it is.
    Invalid,
    /// No such model.
    UnknownModel,
    /// The conversation does not fit.
    ContextLength,
    /// Too many requests, here or at the provider.
    RateLimited,
    /// It took too long.
    Timeout,
    /// The provider failed.
    Provider,
    /// Something else.
    Other,
}

/// Sorts a code.
pub(crate) fn classify(code: &str) -> Problem {
    match code {
        "E-TURN-001" | "E-MODEL-003" => Problem::Invalid,
        "E-MODEL-005" | "E-ROUTE-002" => Problem::UnknownModel,
        "E-MODEL-002" | "E-TURN-003" => Problem::RateLimited,
        "E-MODEL-004" => Problem::ContextLength,
        // Out of quota, as OpenAI's clients know it: 429, and not to be tried again.
        _ if code.starts_with("E-BUDGET-") => Problem::RateLimited,
        "E-TURN-008" => Problem::Timeout,
        _ if code.starts_with("E-MODEL-") || code.starts_with("E-ROUTE-") => Problem::Provider,
        _ => Problem::Other,
    }
}
