//! Starting cargo and other programs with a clean environment.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that started this program, run at the repository's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        // What `cargo run` tells *this* crate must not reach another build.
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_PRIMARY_PACKAGE" {
            command.env_remove(&name);
        }
    }
    library_path(&mut command);
    command
}

/// `cargo run` puts its own directories in front of the library path; started programs must not inherit them.
fn library_path(command: &mut Command) {
    let name = if cfg!(target_os = "macos") { "DYLD_FALLBACK_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    let Some(value) = std::env::var_os(name) else { return };
    let kept: Vec<PathBuf> = std::env::split_paths(&value).filter(|p| !from_cargo(p)).collect();
    match std::env::join_paths(&kept) {
        Ok(joined) if !joined.is_empty() => command.env(name, joined),
        _ => command.env_remove(name),
    };
}

fn from_cargo(path: &Path) -> bool {
    let text = path.to_string_lossy().replace('\\', "/");
    text.contains("/target/") || text.contains("/toolchains/") || text.contains("/rustlib/")
}

/// A program other than cargo, without the variables cargo set for this one.
pub(crate) fn program(name: impl Into<OsString>) -> Command {
    let mut command = Command::new(name.into());
    command.current_dir(root());
    library_path(&mut command);
    command
}

/// A program that runs where the user is, whose arguments may name paths from there.
pub(crate) fn program_here(name: impl Into<OsString>) -> Command {
    let mut command = program(name);
    if let Ok(here) = std::env::current_dir() {
        command.current_dir(here);
    }
    command
}

/// Prints the command, runs it, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("   $ {shown}");
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    check(status, &shown)
}

/// Runs the command and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let out = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{shown}`"))?;
    check(out.status, &shown)?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs the command and ends it when it takes too long; says whether it succeeded in time.
pub(crate) fn run_bounded(command: &mut Command, limit: Duration) -> Result<bool> {
    let shown = shown(command);
    eprintln!("   $ {shown}");
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if begin.elapsed() > limit {
            eprintln!("   `{shown}` did not end within {} s; stopped", limit.as_secs());
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn check(status: ExitStatus, shown: &str) -> Result<()> {
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program.file_stem().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// The workspace's target directory.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let dir = metadata.get("target_directory").and_then(|d| d.as_str()).context("cargo metadata names no target")?;
    Ok(PathBuf::from(dir))
}

/// Finds a program on the search path.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        assert_eq!(shown(Command::new("/opt/bin/cargo").args(["build", "--release"])), "cargo build --release");
    }

    #[test]
    fn library_paths_of_the_outer_cargo_are_recognised() {
        assert!(from_cargo(Path::new("/home/a/project/target/debug/deps")));
        assert!(from_cargo(Path::new("/home/a/.rustup/toolchains/stable/lib")));
        assert!(!from_cargo(Path::new("/opt/cuda/lib64")));
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let ended = run_bounded(Command::new("sleep").arg("600"), Duration::from_millis(1)).unwrap();
        assert!(!ended);
    }
}
