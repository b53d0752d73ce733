//! Counting tests from what the test runners print.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// How many tests did what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Adds another run's counts.
    pub(crate) fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The line that ends a test run.
    pub(crate) fn line(self) -> String {
        format!("test summary: {} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Whose summary to read. Each prints the other's lines, too: nextest shows a failed test's output, which libtest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `cargo test`, one line per binary: `test result: ok. 5 passed; 0 failed; 1 ignored; …`
    Libtest,
    /// nextest, one line at the end: `Summary [   0.1s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped`
    Nextest,
    /// `node --test`, one line each at the end: `# pass 3` or `ℹ pass 3`
    Node,
}

/// What an output line says, if it is a summary.
fn counts(runner: Runner, line: &str) -> Option<Counts> {
    let plain = without_colours(line);
    let text = plain.trim();
    if runner == Runner::Node {
        let (word, number) = text.strip_prefix("# ").or_else(|| text.strip_prefix("ℹ "))?.split_once(' ')?;
        let number = number.parse().ok()?;
        return Some(match word {
            "pass" => Counts { passed: number, ..Counts::default() },
            "fail" | "cancelled" => Counts { failed: number, ..Counts::default() },
            "skipped" | "todo" => Counts { skipped: number, ..Counts::default() },
            _ => return None,
        });
    }
    let figures = match runner {
        Runner::Libtest => text.strip_prefix("test result: ")?.split_once(". ")?.1,
        Runner::Nextest => text.strip_prefix("Summary [")?.split_once("run: ")?.1,
        Runner::Node => return None,
    };
    let mut found = Counts::default();
    for part in figures.split([',', ';', '(', ')']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(word)) = (words.next().and_then(|n| n.parse::<u64>().ok()), words.next()) else {
            continue;
        };
        match word {
            "passed" => found.passed += number,
            "failed" | "timed" | "exec" => found.failed += number,
            // libtest's "filtered out" is left out: those tests were not asked for.
            "ignored" | "skipped" => found.skipped += number,
            _ => {}
        }
    }
    Some(found)
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            for skipped in rest.by_ref() {
                if skipped.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Runs a test command, passing its output on and counting; also says whether it succeeded.
pub(crate) fn run_counted(runner: Runner, command: &mut Command) -> Result<(Counts, bool)> {
    let shown = crate::cargo::shown(command);
    eprintln!("   $ {shown}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let stderr = child.stderr.take().context("no pipe to the test run")?;
    let stdout = child.stdout.take().context("no pipe to the test run")?;
    let (out, err) = std::thread::scope(|scope| {
        let err = scope.spawn(|| pass_on(runner, stderr, std::io::stderr()));
        (pass_on(runner, stdout, std::io::stdout()), err.join().unwrap_or_default())
    });
    let mut total = out;
    total.add(err);
    let good = child.wait()?.success();
    Ok((total, good))
}

fn pass_on(runner: Runner, from: impl std::io::Read, mut to: impl Write) -> Counts {
    let mut total = Counts::default();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        // A closed terminal is no reason to stop counting.
        let _ = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
        if let Some(found) = counts(runner, &String::from_utf8_lossy(&line)) {
            total.add(found);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libtest_line_is_counted_without_what_was_filtered_out() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 40 filtered out; finished in 0.1s";
        assert_eq!(counts(Runner::Libtest, line), Some(Counts { passed: 5, failed: 2, skipped: 1 }));
    }

    #[test]
    fn a_nextest_line_is_counted_with_time_outs_as_failures() {
        let line = "     Summary [   0.123s] 15 tests run: 10 passed (2 slow), 1 failed, 1 timed out, 3 skipped";
        assert_eq!(counts(Runner::Nextest, line), Some(Counts { passed: 10, failed: 2, skipped: 3 }));
    }

    #[test]
    fn nodes_lines_are_counted_one_by_one() {
        let lines = ["# tests 6", "# pass 3", "ℹ fail 1", "# cancelled 0", "# skipped 2", "# duration_ms 12.5"];
        let mut total = Counts::default();
        lines.iter().filter_map(|l| counts(Runner::Node, l)).for_each(|c| total.add(c));
        assert_eq!(total, Counts { passed: 3, failed: 1, skipped: 2 });
    }

    #[test]
    fn colours_do_not_hide_a_summary() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m passed, 0 skipped";
        assert_eq!(counts(Runner::Nextest, line), Some(Counts { passed: 2, failed: 0, skipped: 0 }));
    }

    #[test]
    fn a_tests_own_output_is_no_summary() {
        assert_eq!(counts(Runner::Libtest, "5 passed, 3 failed"), None);
        assert_eq!(counts(Runner::Nextest, "test result: FAILED. 0 passed; 1 failed; 0 ignored"), None);
    }
}
