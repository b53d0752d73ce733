//! What was wrong, where, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// Which rule a [`Problem`] broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A file could not be read.
    Unreadable,
    /// A file is not JSON5.
    Syntax,
    /// An `$include` is malformed, too deep or circular.
    Include,
    /// A `${NAME}` is not set.
    Environment,
    /// A key that nothing knows.
    UnknownKey,
    /// A value of the wrong type, range or form.
    Value,
    /// A secret in the file.
    Secret,
    /// A wider bind than this version can protect.
    Bind,
}

impl Rule {
    /// Its stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "E-CONFIG-001",
            Self::Syntax => "E-CONFIG-002",
            Self::Include => "E-CONFIG-003",
            Self::Environment => "E-CONFIG-004",
            Self::UnknownKey => "E-CONFIG-005",
            Self::Value => "E-CONFIG-006",
            Self::Secret => "E-CONFIG-007",
            Self::Bind => "E-CONFIG-008",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The rule it broke.
    pub rule: Rule,
    /// The file the value stands in.
    pub file: PathBuf,
    /// `agent.route[0]`; empty for the file as a whole.
    pub path: String,
    /// What was wrong with it.
    pub message: String,
    /// What to do; empty if the message says it.
    pub fix: String,
}

impl Problem {
    pub(crate) fn new(rule: Rule, file: &Path, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule, file: file.to_owned(), path: path.into(), message: message.into(), fix: String::new() }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        write!(f, "{}", self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        write!(f, " [{}]", self.rule.code())
    }
}

/// Every problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl From<Problem> for ConfigError {
    fn from(p: Problem) -> Self {
        Self { problems: vec![p] }
    }
}
