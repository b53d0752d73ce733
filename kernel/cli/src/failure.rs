//! How a command fails: what, why, what to do, and an exit code that means something.

use carapace_contract::Denial;
use std::fmt;

/// Exit codes, documented in the operator's guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed.
    Failed = 1,
    /// The command line or a file was wrong.
    Usage = 2,
    /// Refused: trust, grant, budget or policy.
    Refused = 3,
    /// No assistant is running, or the one there cannot be reached.
    Unreachable = 4,
    /// The owner has to agree to something first.
    Consent = 5,
    /// Stopped by the owner.
    Cancelled = 130,
}

/// Errors repeat what strangers wrote: a parser's message holds the word it stumbled over. None may reach into the terminal.
fn honest(text: String) -> String {
    let deceives = |c: char| carapace_contract::manifest::deceives(c) && !matches!(c, '\n' | '\t');
    if !text.contains(deceives) {
        return text;
    }
    text.chars().map(|c| if deceives(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Its exit code.
    pub exit: Exit,
    code: Option<String>,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// With a text for a person.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: None, message: honest(message.into()), help: None }
    }
    /// With a stable code.
    pub(crate) fn coded(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self { code: Some(code.to_owned()).filter(|c| !c.is_empty()), ..Self::new(exit, message) }
    }
    /// What to do about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(honest(help.into())).filter(|h| !h.is_empty());
        self
    }
    /// What to do, after what it already says about that.
    #[must_use]
    pub(crate) fn and_help(self, more: &str) -> Self {
        let help = self.help.as_ref().map_or_else(|| more.to_owned(), |help| format!("{help}\n{more}"));
        self.help(help)
    }
    /// What failed around it.
    #[must_use]
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = honest(format!("{what}: {}", self.message));
        self
    }
    /// Whether it has this code.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
    /// Everything on one line, for a list of problems.
    pub(crate) fn line(&self) -> String {
        let code = self.code.as_ref().map(|c| format!(" [{c}]")).unwrap_or_default();
        let help = self.help.as_ref().map(|h| format!("; {h}")).unwrap_or_default();
        format!("{}{code}{help}", self.message)
    }
    /// What was wrong, with its code.
    pub(crate) fn what(&self) -> String {
        format!("{}{}", self.message, self.code.as_ref().map(|c| format!(" [{c}]")).unwrap_or_default())
    }
    /// What to do about it; empty if nothing is known.
    pub(crate) fn fix(&self) -> &str {
        self.help.as_deref().unwrap_or_default()
    }
    /// As one JSON object.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({ "error": { "code": self.code, "message": self.message, "help": self.help } })
    }
}

impl From<Denial> for Failure {
    fn from(d: Denial) -> Self {
        Self {
            exit: Exit::Refused,
            code: Some(d.code),
            message: honest(d.message),
            help: Some(honest(d.fix)).filter(|f| !f.is_empty()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(e: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{e:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Self::new(Exit::Failed, e.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl miette::Diagnostic for Failure {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.as_ref().map(|c| Box::new(c) as Box<dyn fmt::Display>)
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }
}

/// What commands return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Adds what was being done, for errors of other rooms.
pub(crate) trait OrFail<T> {
    /// `what: error`, exit code 1.
    fn or_fail(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|e| Failure::new(Exit::Failed, format!("{what}: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_word_in_an_error_does_not_reach_the_terminal() {
        let text = "unknown field `\u{1b}[2J\u{202e}`\nexpected `a`";
        for failure in [Failure::new(Exit::Failed, text), Denial::new("E-HOST-001", text, text).into()] {
            assert!(!failure.line().contains(['\u{1b}', '\u{202e}']) && failure.line().contains("\nexpected"));
        }
        assert!(!Failure::new(Exit::Failed, "x").context(text).help(text).line().contains('\u{1b}'));
    }
}
