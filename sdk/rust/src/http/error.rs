//! What can go wrong between a request and its whole answer.

use crate::provider::{Failure, FailureKind};

/// How far a request had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of it left this machine: trying again is safe.
    Before,
    /// A byte of it may have reached the server, and no head came back.
    Sent,
    /// The answer had begun, and its body broke off.
    Reading,
    /// The answer is there, and is not what it should be.
    Answered,
}

/// Why there is no answer, or no usable one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    error: crate::Error,
    stage: Stage,
}

impl Error {
    pub(crate) fn new(error: crate::Error, stage: Stage) -> Self {
        Self { error, stage }
    }

    /// Whether a byte of the request may have reached the server: if not, trying again is safe.
    pub fn was_sent(&self) -> bool {
        self.stage != Stage::Before
    }

    /// How far the request had come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The case.
    pub fn kind(&self) -> &crate::Error {
        &self.error
    }

    /// The case, owned.
    pub fn into_inner(self) -> crate::Error {
        self.error
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Error {}

impl From<Error> for crate::Error {
    fn from(e: Error) -> Self {
        e.error
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        match (e.stage, e.error) {
            (Stage::Answered, crate::Error::Unavailable(t)) => Self::malformed(t),
            (Stage::Reading, error) => Self::of(error, FailureKind::Interrupted),
            (_, error) => Self::of(error, FailureKind::Unavailable),
        }
    }
}
