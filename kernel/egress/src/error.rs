//! How a request fails.

use carapace_contract::Denial;

/// Why a request was refused or failed. The text is for a person and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The grant or a rule of the kernel does not allow it.
    #[error("{0}")]
    Denied(Denial),
    /// A limit was reached.
    #[error("{0}")]
    Limit(String),
    /// The request (or a value that belongs into it) is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The other side could not be reached or answered nonsense; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// A deadline passed.
    #[error("{0}")]
    Timeout(String),
    /// The run was stopped.
    #[error("the run was stopped")]
    Cancelled,
}

impl EgressError {
    /// The denial's code, else the case: `limit`, `invalid`, `unavailable`, `timeout`, `cancelled`.
    pub fn code(&self) -> &str {
        match self {
            Self::Denied(d) => &d.code,
            Self::Limit(_) => "limit",
            Self::Invalid(_) => "invalid",
            Self::Unavailable(_) => "unavailable",
            Self::Timeout(_) => "timeout",
            Self::Cancelled => "cancelled",
        }
    }

    /// The same error with `clean` applied to every text in it.
    pub(crate) fn map_text(self, clean: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Denied(d) => Self::Denied(Denial { message: clean(&d.message), fix: clean(&d.fix), code: d.code }),
            Self::Limit(t) => Self::Limit(clean(&t)),
            Self::Invalid(t) => Self::Invalid(clean(&t)),
            Self::Unavailable(t) => Self::Unavailable(clean(&t)),
            Self::Timeout(t) => Self::Timeout(clean(&t)),
            Self::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Denial> for EgressError {
    fn from(d: Denial) -> Self {
        Self::Denied(d)
    }
}

/// An error, and whether trying again is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// What went wrong.
    pub error: EgressError,
    /// Whether a byte of the request may have reached the server. `false` only when it certainly did not.
    pub sent: bool,
}

/// At most 200 characters of a value for an error text, control characters made visible.
pub(crate) fn shown(value: &str) -> String {
    let mut out: String = value
        .chars()
        .take(200)
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if value.chars().nth(200).is_some() {
        out.push('…');
    }
    out
}
