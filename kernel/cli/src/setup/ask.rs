//! Questions at the terminal. They go to standard error, so that standard output stays what a program reads.

use crate::failure::{Exit, Failure, Outcome};
use std::io::{BufRead, Write};

/// How often a wrong answer is asked about again.
const PATIENCE: usize = 3;

/// A line, without what stands around it. The end of the input ends the setup.
fn line(prompt: &str) -> Outcome<String> {
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer)? == 0 {
        eprintln!();
        return Err(stopped());
    }
    Ok(answer.trim().to_owned())
}

/// A yes or no; Enter takes the default.
pub(crate) fn yes(question: &str, default: bool) -> Outcome<bool> {
    let hint = if default { "[Y/n]" } else { "[y/N]" };
    choose(&format!("{question} {hint} "), |answer| match answer.to_lowercase().as_str() {
        "" => Ok(default),
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("Please answer y or n.".to_owned()),
    })
}

/// An answer that `read` understands; what it says about a wrong one is shown, and the question is asked again.
pub(crate) fn choose<T>(question: &str, read: impl Fn(&str) -> Result<T, String>) -> Outcome<T> {
    for _ in 0..PATIENCE {
        match read(&line(question)?) {
            Ok(answer) => return Ok(answer),
            Err(why) => eprintln!("{why}"),
        }
    }
    Err(Failure::new(Exit::Usage, format!("no answer after {PATIENCE} attempts; nothing was changed"))
        .help("carapace setup"))
}

/// A secret, typed without an echo. Empty: none.
pub(crate) fn hidden(prompt: &str) -> Outcome<String> {
    Ok(crate::hidden::ask(prompt)?.trim().to_owned())
}

/// The owner ended it.
pub(crate) fn stopped() -> Failure {
    Failure::new(Exit::Cancelled, "stopped; nothing was changed")
}
