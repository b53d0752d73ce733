//! `carapace plugin check`: what is wrong with a component, what could be less, and what it uses of its limits.

use super::folder::{Folder, Profile};
use super::{build, test};
use crate::args::CheckArgs;
use crate::commands::plugin::print_json;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_contract::Digest;
use carapace_contract::limits::{self, Limits};
use carapace_contract::manifest::Manifest;
use carapace_registry::{imports, package};
use carapace_test_host::Used;
use serde_json::json;
use std::path::Path;

/// A package above this takes noticeably long to fetch and to compile.
const LARGE: usize = 4 << 20;
/// What a limit should leave above the most that was seen.
const ROOM: u64 = 2;
/// A limit so many times what is suggested could be less.
const GENEROUS: u64 = 4;

pub(crate) fn run(args: &CheckArgs) -> Outcome {
    if args.path.is_dir() {
        let folder = Folder::at(&args.path)?;
        let bytes = build::of_folder(&folder, None, Profile::Release, &[])?;
        let used = if args.no_tests { None } else { Some(measured(&folder, &bytes, args.output.json)?) };
        return report(&bytes, used, args);
    }
    let bytes = trust::read_package(&args.path)?;
    report(&bytes, None, args)
}

/// What the component's tests use when they run against the package.
fn measured(folder: &Folder, package: &[u8], quiet: bool) -> Outcome<Used> {
    let measures = tempfile::tempdir()?;
    if !quiet {
        eprintln!("Testing the component, to see what it uses.");
    }
    if !test::against(folder, package, Some(measures.path()), quiet, &[])? {
        return Err(Failure::new(Exit::Failed, "the tests fail against the component, so what it uses is not known")
            .help("carapace plugin test; or carapace plugin check --no-tests"));
    }
    all_used(measures.path())
}

fn all_used(measures: &Path) -> Outcome<Used> {
    let mut all = Used::default();
    for entry in std::fs::read_dir(measures)?.flatten() {
        let one: Used = serde_json::from_slice(&std::fs::read(entry.path())?).or_fail("what the tests used")?;
        all = all.with(one);
    }
    Ok(all)
}

/// A limit, what was used of it, and what would do.
#[derive(Debug, Clone)]
struct Line {
    key: &'static str,
    limit: u64,
    used: u64,
    suggested: u64,
    shown: fn(u64) -> String,
}

impl Line {
    fn toml(&self, value: u64) -> String {
        format!("{} = {}", self.key, (self.shown)(value))
    }

    fn is_tight(&self) -> bool {
        self.used.saturating_mul(5) > self.limit.saturating_mul(4)
    }

    fn is_generous(&self) -> bool {
        self.limit > self.suggested.saturating_mul(GENEROUS)
    }
}

/// What limits a call of the tests came close to, and which are far above all of them.
fn fitting(lines: &[Line]) -> Vec<String> {
    let tight = |l: &&Line| l.is_tight();
    let mut warnings: Vec<String> = lines
        .iter()
        .filter(tight)
        .map(|l| {
            let (limit, would_do) = (l.toml(l.limit), l.toml(l.suggested));
            format!("`{limit}` is tight: a call of the tests used {}; `{would_do}` would leave room", (l.shown)(l.used))
        })
        .collect();
    let generous: Vec<String> =
        lines.iter().filter(|l| l.is_generous()).map(|l| format!("`{}`", l.toml(l.suggested))).collect();
    if !generous.is_empty() {
        warnings.push(format!(
            "[limits] allows far more than the tests use, and the owner is shown it; {} would do",
            generous.join(", ")
        ));
    }
    warnings
}

fn lines(limits: &Limits, used: &Used) -> Vec<Line> {
    let memory = (used.memory * ROOM).next_multiple_of(1 << 20).max(1 << 20);
    let all = [
        Line { key: "memory", limit: limits.memory, used: used.memory, suggested: memory, shown: size },
        Line {
            key: "fuel-per-call",
            limit: limits.fuel_per_call,
            used: used.fuel,
            suggested: rounded(used.fuel * ROOM).max(1_000_000),
            shown: |n| n.to_string(),
        },
        Line {
            key: "cpu-per-call",
            limit: limits.cpu_ms_per_call,
            used: used.cpu_ms,
            // Counted in steps of 10 ms; another machine may be a few times slower.
            suggested: (used.cpu_ms * ROOM * 2).next_multiple_of(100).max(100),
            shown: |n| format!("\"{n}ms\""),
        },
        Line {
            key: "host-calls-per-call",
            limit: limits.host_calls_per_call,
            used: used.host_calls,
            suggested: rounded(used.host_calls * ROOM).max(1_000),
            shown: |n| n.to_string(),
        },
    ];
    // Nothing is said of what was not seen: a profile without fuel counts none.
    all.into_iter().filter(|l| l.used > 0 || l.key != "fuel-per-call").collect()
}

/// Two digits, upwards.
fn rounded(n: u64) -> u64 {
    let mut step = 1u64;
    while n / step >= 100 {
        step = step.saturating_mul(10);
    }
    n.next_multiple_of(step)
}

fn size(bytes: u64) -> String {
    match bytes {
        n if n > 0 && n % (1 << 20) == 0 => format!("\"{}MiB\"", n >> 20),
        n => format!("\"{}KiB\"", n.div_ceil(1 << 10)),
    }
}

fn report(bytes: &[u8], used: Option<Used>, args: &CheckArgs) -> Outcome {
    let (manifest, _) = package::read_manifest(bytes)
        .map_err(|e| Failure::new(Exit::Refused, e.to_string()).context(args.path.display()))?;
    let found = imports::check(bytes, &manifest).or_fail(args.path.display())?;
    let (problems, mut warnings) = (found.problems, found.warnings);
    if bytes.len() > LARGE {
        warnings.push(format!(
            "the package has {} bytes; what is large and only read belongs into an [[asset]]",
            bytes.len()
        ));
    }
    warnings.extend(default_limits(&manifest));
    let lines = used.filter(|u| u.calls > 0).map(|used| lines(&manifest.limits, &used)).unwrap_or_default();
    warnings.extend(fitting(&lines));
    let surface = imports::decode(bytes).or_fail(args.path.display())?;
    let component = &manifest.component;
    if args.output.json {
        let line = |l: &Line| json!({ "key": l.key, "limit": l.limit, "used": l.used, "suggested": l.suggested, "line": l.toml(l.suggested) });
        print_json(&json!({
            "name": component.name, "version": component.version, "contract": component.contract, "digest": Digest::of(bytes),
            "bytes": bytes.len(), "build": manifest.build, "imports": surface.imports, "exports": surface.exports,
            "problems": problems, "warnings": warnings, "used": used, "limits": lines.iter().map(line).collect::<Vec<_>>(),
        }));
        if !problems.is_empty() {
            std::process::exit(Exit::Failed as i32);
        }
        return Ok(());
    }
    println!("{} {}, contract {}, {} bytes", component.name, component.version, component.contract, bytes.len());
    println!("{}", Digest::of(bytes));
    if let Some(build) = &manifest.build {
        println!("built by {}", build.compiler);
    }
    for import in &surface.imports {
        println!("imports  {import}");
    }
    if let Some(used) = used.filter(|u| u.calls > 0) {
        println!("\nThe most that one of {} calls of the tests used:", used.calls);
        for line in &lines {
            println!("  {:<20} {:>12} of {:>12}", line.key, (line.shown)(line.used), (line.shown)(line.limit));
        }
        println!("\nThese limits would leave room, as far as the tests go:\n\n  [limits]");
        lines.iter().for_each(|line| println!("  {}", line.toml(line.suggested)));
    }
    println!();
    problems.iter().for_each(|p| println!("problem: {p}"));
    warnings.iter().for_each(|w| println!("warning: {w}"));
    if problems.is_empty() {
        println!("{}", if warnings.is_empty() { "Nothing is wrong with it." } else { "Nothing refuses it." });
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("{} problems", problems.len())))
}

/// A component that says nothing of its limits gets the defaults, which are more than most need.
fn default_limits(manifest: &Manifest) -> Option<String> {
    let says_nothing =
        manifest.limits == Limits { warm_idle_ms: manifest.limits.warm_idle_ms, ..limits::Limits::default() };
    says_nothing.then(|| {
        "the manifest has no [limits]: the owner is shown the defaults, and one call may use all of them".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_suggested_leaves_room_and_is_easy_to_read() {
        assert_eq!((rounded(0), rounded(99), rounded(101), rounded(123_456)), (0, 99, 110, 130_000));
        let used = Used { calls: 3, fuel: 1_234_567, memory: 1_300_000, cpu_ms: 20, host_calls: 4 };
        let lines = lines(&Limits::default(), &used);
        let shown: Vec<String> = lines.iter().map(|l| l.toml(l.suggested)).collect();
        assert_eq!(
            shown,
            ["memory = \"3MiB\"", "fuel-per-call = 2500000", "cpu-per-call = \"100ms\"", "host-calls-per-call = 1000"]
        );
    }

    #[test]
    fn a_limit_is_called_tight_or_generous_where_it_is() {
        let line = |limit: u64, used: u64| Line { key: "memory", limit, used, suggested: 2 << 20, shown: size };
        assert!(fitting(&[line(2 << 20, 1_900_000)])[0].contains("is tight"));
        let generous = fitting(&[line(64 << 20, 900_000), line(65 << 20, 900_000)]);
        assert!(generous.len() == 1 && generous[0].contains("`memory = \"2MiB\"`"), "{generous:?}");
        assert!(fitting(&[line(4 << 20, 900_000)]).is_empty());
    }
}
