//! A refusal that says how to open what it closed.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What was refused, by which rule, and the exact command or config line that would allow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Stable: `E-<ROOM>-<NNN>`.
    pub code: String,
    /// What was attempted and what was wrong with it, naming the value.
    pub message: String,
    /// The command or config line that would allow it; empty if nothing should.
    pub fix: String,
}

impl Denial {
    /// A denial with its code, text and fix.
    pub fn new(code: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)?;
        if !self.fix.is_empty() {
            write!(f, "; to allow it: {}", self.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for Denial {}
