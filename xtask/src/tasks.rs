//! The tasks, each a few steps.

use crate::args::Task;
use crate::cargo::{cargo, output, program, program_here, root, run, target_dir, which};
use crate::components::Variant;
use crate::step::Steps;
use crate::summary::{Counts, Runner, run_counted};
use crate::{authors, bundle, components, docs, foreign, fuzz, typescript, weights};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Performs a task; the answer is a line to print last.
pub(crate) fn perform(task: Task, steps: &mut Steps) -> Result<Option<String>> {
    match task {
        Task::Run { args } => carapace(steps, "start", &args).map(|()| None),
        Task::Setup { args } => carapace(steps, "setup", &args).map(|()| None),
        Task::Test { filter } => test(steps, filter.as_deref()).map(Some),
        Task::Bench { args } => bench(steps, &args).map(|()| None),
        Task::Components { sign } => {
            let carapace = steps.run("build carapace (dev)", || binary(&["build", "-p", "carapace-cli"], "debug"))?;
            bundle_components(steps, &carapace, sign.then_some(&[])).map(|()| None)
        }
        Task::Plain => {
            let carapace = steps.run("build carapace (dev)", || binary(&["build", "-p", "carapace-cli"], "debug"))?;
            plain_components(steps, &carapace).map(|plain| Some(format!("see {}", plain.display())))
        }
        Task::Weights => {
            let components = components::discover(&root().join("components"))?;
            steps.run("bring weights", || weights::bring(&components, &bundle_dir()?)).map(|()| None)
        }
        Task::Fmt { check } => steps.run("format", || format(check)).map(|()| None),
        Task::Lint => lint(steps).map(|()| None),
        Task::Foreign => {
            let others = target_dir()?.join("foreign");
            steps.run("build components in other languages", || foreign::build(&others)).map(|_| None)
        }
        Task::Types => steps.run("contract as TypeScript", types).map(|()| None),
        Task::Docs => documentation(steps).map(|()| None),
        Task::Fuzz { seconds } => fuzz::run_all(steps, seconds).map(Some),
        Task::Ci => run(&mut program(root().join(".ci/run"))).map(|()| None),
    }
}

/// Where the bundled components are made.
fn bundle_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("bundle"))
}

fn executable(profile: &str) -> Result<PathBuf> {
    Ok(target_dir()?.join(profile).join(format!("carapace{}", std::env::consts::EXE_SUFFIX)))
}

/// Runs a cargo command that builds the `carapace` binary, and finds the result.
fn binary(arguments: &[&str], profile: &str) -> Result<PathBuf> {
    run(cargo().args(arguments))?;
    let path = executable(profile)?;
    if !path.is_file() {
        bail!("cargo succeeded, but there is no {}", path.display());
    }
    Ok(path)
}

fn bundle_components(steps: &mut Steps, carapace: &Path, sign: Option<&[String]>) -> Result<()> {
    let built = steps.run("build components", || components::build(Variant::Usual))?;
    let bundle = bundle_dir()?;
    steps.run("package components", || bundle::package(carapace, &built, &bundle))?;
    if let Some(whose) = sign {
        steps.run("sign components", || bundle::sign(carapace, &bundle, whose))?;
    }
    let components: Vec<_> = built.into_iter().map(|(component, _)| component).collect();
    steps.run("bring weights", || weights::bring(&components, &bundle))
}

/// The arguments that say which state directory is meant: a bundle is signed by the key of the one that will run it.
fn state_dir(args: &[String]) -> &[String] {
    let is_it = |arg: &String| arg == "--state-dir" || arg.starts_with("--state-dir=");
    let Some(at) = args.iter().position(is_it) else { return &[] };
    let n = if args.get(at).is_some_and(|arg| arg.contains('=')) { 1 } else { 2 };
    args.get(at..at + n).unwrap_or_default()
}

/// Packages the variants for engines without relaxed SIMD; gives their folder.
fn plain_components(steps: &mut Steps, carapace: &Path) -> Result<PathBuf> {
    let plain = target_dir()?.join("plain");
    let built = steps.run("build components, without relaxed SIMD", || components::build(Variant::Plain))?;
    steps.run("package components, without relaxed SIMD", || bundle::package(carapace, &built, &plain))?;
    Ok(plain)
}

/// Builds everything, then becomes `carapace COMMAND` with what was built.
fn carapace(steps: &mut Steps, command: &str, args: &[String]) -> Result<()> {
    let build = ["build", "--release", "-p", "carapace-cli", "--bin", "carapace"];
    let carapace = steps.run("build carapace (release)", || binary(&build, "release"))?;
    bundle_components(steps, &carapace, Some(state_dir(args)))?;
    steps.report();
    let mut program = program_here(&carapace);
    program.arg(command).arg("--bundle").arg(bundle_dir()?).args(args);
    become_it(&mut program)
}

/// Replaces this process, so that signals and the terminal reach the assistant itself.
#[cfg(unix)]
fn become_it(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(error).context("cannot start the carapace binary")
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> Result<()> {
    run(command)
}

fn test(steps: &mut Steps, filter: Option<&str>) -> Result<String> {
    // One selection for the binary and the tests, so that no dependency is compiled twice with different features. Without
    // this program itself, because a running executable cannot be replaced everywhere.
    let build = ["build", "--workspace", "--exclude", "xtask", "--bins", "--tests"];
    let carapace = steps.run("build carapace and its tests (dev)", || binary(&build, "debug"))?;
    bundle_components(steps, &carapace, None)?;
    let unsigned = target_dir()?.join("test-bundle");
    bundle::copy_unsigned(&bundle_dir()?, &unsigned)?;
    let plain = plain_components(steps, &carapace)?;
    let written = target_dir()?.join("authors");
    let samples = steps.run("build the templates", || authors::build(&written))?;

    let others = target_dir()?.join("foreign");
    let scripts = steps.run("build components in other languages", || foreign::build(&others))?;

    let mut total = Counts::default();
    let mut broken: Vec<&str> = Vec::new();
    let mut part = |steps: &mut Steps, name: &'static str, runner: Runner, command: &mut Command| {
        command.env("CARAPACE_TEST_BUNDLE", &unsigned).env("CARAPACE_BIN", &carapace);
        command.env("CARAPACE_TEST_PLAIN", &plain).env("CARAPACE_TEST_AUTHORS", &written);
        command.env("CARAPACE_TEST_FOREIGN", &others);
        command.env("CARAPACE_TEST_TOOLS", written.join(authors::TOOLS));
        let outcome = steps.run(name, || {
            let (counts, good) = run_counted(runner, command)?;
            total.add(counts);
            if good { Ok(()) } else { bail!("{name}: failed") }
        });
        if outcome.is_err() {
            broken.push(name);
        }
    };
    let mut command = cargo();
    let runner = if which("cargo-nextest").is_some() { Runner::Nextest } else { Runner::Libtest };
    if runner == Runner::Nextest {
        // A filter may match nothing in one part and something in another; matching nothing at all is an error below.
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass"]);
    } else {
        command.args(["test", "--workspace", "--tests", "--no-fail-fast", "--"]);
    }
    part(steps, "tests", runner, command.args(filter));
    part(
        steps,
        "documentation tests",
        Runner::Libtest,
        cargo().args(["test", "--doc", "--workspace", "--no-fail-fast", "--"]).args(filter),
    );
    if !components::discover(&root().join("components"))?.is_empty() {
        let mut command = cargo();
        command
            .current_dir(root().join("components"))
            .args(["test", "--workspace", "--no-fail-fast", "--"])
            .args(filter);
        part(steps, "component logic tests, on the host", Runner::Libtest, &mut command);
    }
    for (folder, package) in components::tested_both_ways(&root().join("components"), &bundle_dir()?)? {
        let mut command = cargo();
        command.current_dir(folder).args(["test", "--no-fail-fast"]);
        command.env("CARAPACE_TEST_COMPONENT", package).env("CARAPACE_TEST_HOST", &carapace);
        part(steps, "component tests, against what was built", Runner::Libtest, command.arg("--").args(filter));
    }
    for folder in &samples {
        // As an author would, and so both ways.
        let mut command = program(&carapace);
        command.args(["plugin", "test"]).arg(folder);
        command.arg("--component").arg(folder.join("target").join(authors::built(folder)?));
        command.args(["--", "--no-fail-fast", "--target-dir"]).arg(authors::host_target());
        part(steps, "tests of the templates", Runner::Libtest, command.arg("--").args(filter));
    }

    // Node's runner takes no filter by a part of a name.
    for folder in scripts.iter().filter(|_| filter.is_none()) {
        part(steps, "tests of TypeScript components", Runner::Node, &mut foreign::tests(folder)?);
    }
    if let Some(mut command) = foreign::twin_tests(&carapace, &others)? {
        part(steps, "component tests, against its twin", Runner::Libtest, command.arg("--").args(filter));
    }

    println!("{}", total.line());
    if !broken.is_empty() || total.failed > 0 {
        bail!("failed: {}", broken.join(", "));
    }
    if total.passed == 0 {
        bail!("no test was run{}", filter.map(|f| format!("; none has `{f}` in its name")).unwrap_or_default());
    }
    Ok(total.line())
}

fn bench(steps: &mut Steps, args: &[String]) -> Result<()> {
    let build = ["build", "--release", "-p", "carapace-cli", "--bin", "carapace"];
    let carapace = steps.run("build carapace (release)", || binary(&build, "release"))?;
    bundle_components(steps, &carapace, None)?;
    let unsigned = target_dir()?.join("test-bundle");
    bundle::copy_unsigned(&bundle_dir()?, &unsigned)?;
    let plain = plain_components(steps, &carapace)?;
    let others = target_dir()?.join("foreign");
    steps.run("build components in other languages", || foreign::build(&others))?;
    let bench = steps.run("build benches (release)", || {
        let arguments = ["build", "--release", "-p", "carapace-tests", "--bench", "bench"];
        let messages = output(cargo().args(arguments).arg("--message-format=json-render-diagnostics"))?;
        bench_executable(&messages).context("cargo succeeded, but names no bench executable")
    })?;
    steps.run("measure", || {
        let mut bench = program(bench);
        bench.env("CARAPACE_TEST_BUNDLE", &unsigned).env("CARAPACE_TEST_PLAIN", &plain).env("CARAPACE_BIN", &carapace);
        run(bench.env("CARAPACE_TEST_FOREIGN", &others).args(args))
    })
}

/// The bench's path in cargo's messages.
fn bench_executable(messages: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_bench = message.pointer("/target/kind/0")? == "bench" && message.pointer("/target/name")? == "bench";
        let path = message.get("executable")?.as_str()?;
        is_bench.then(|| PathBuf::from(path))
    })
}

fn types() -> Result<()> {
    let file = root().join(typescript::FILE);
    let text = typescript::declarations(&root().join("wit"))?;
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn format(check: bool) -> Result<()> {
    let mut folders = vec![root()];
    if !components::discover(&root().join("components"))?.is_empty() {
        folders.push(root().join("components"));
    }
    for folder in folders {
        let mut command = cargo();
        command.current_dir(folder).args(["fmt", "--all"]);
        if check {
            command.arg("--check");
        }
        run(&mut command).context("format differs; `cargo xtask fmt` corrects it")?;
    }
    Ok(())
}

fn lint(steps: &mut Steps) -> Result<()> {
    steps.run("format check", || format(true))?;
    steps.run("clippy", || run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])))?;
    if components::discover(&root().join("components"))?.is_empty() {
        return Ok(());
    }
    steps.run("clippy, components", || {
        let mut command = cargo();
        command.current_dir(root().join("components"));
        run(command.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })
}

fn documentation(steps: &mut Steps) -> Result<()> {
    steps.run("links of the documentation", || docs::check(&root()))?;
    steps.run("API documentation", || {
        run(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    steps.run("API documentation, SDK", || {
        let mut command = cargo();
        command.current_dir(root().join("components"));
        let sdk = ["doc", "-p", "carapace-sdk", "--no-deps", "--all-features"];
        run(command.args(sdk).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    if which("mdbook").is_some() {
        steps.run("book", || run(program("mdbook").arg("build").arg(root().join("docs"))))?;
    } else {
        eprintln!("   mdbook is not installed; the book was checked but not built");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_found_among_the_arguments_of_a_start() {
        let found = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            state_dir(&args).join(" ")
        };
        assert_eq!(found(&["--port", "0", "--state-dir", "x", "--json"]), "--state-dir x");
        assert_eq!(found(&["--state-dir=x", "--json"]), "--state-dir=x");
        assert_eq!(found(&["--port", "0"]), "");
        assert_eq!(found(&["--state-dir"]), "", "the assistant says what is missing");
    }

    #[test]
    fn the_bench_is_found_among_cargos_messages() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"lib\"],\"name\":\"bench\"},\"executable\":null}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"bench\"],\"name\":\"bench\"},\"executable\":\"/t/bench-1\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(bench_executable(messages), Some(PathBuf::from("/t/bench-1")));
    }
}
