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

/// Sorts a code. `E-MODEL-002` is a provider's rate limit where trying again helps, and otherwise an unknown model.
pub(crate) fn classify(code: &str, retryable: bool) -> Problem {
    match code {
        "E-TURN-001" | "E-MODEL-003" => Problem::Invalid,
        "E-MODEL-005" => Problem::UnknownModel,
        "E-MODEL-002" if !retryable => Problem::UnknownModel,
        "E-MODEL-002" | "E-TURN-003" => Problem::RateLimited,
        "E-MODEL-004" => Problem::ContextLength,
        "E-TURN-008" => Problem::Timeout,
        _ if code.starts_with("E-MODEL-") => Problem::Provider,
        _ => Problem::Other,
    }
}
