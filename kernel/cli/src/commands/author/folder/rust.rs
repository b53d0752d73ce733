//! A component that is written in Rust, and what cargo makes of it.

use super::{Compiled, Profile};
use crate::args::Language;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What components are compiled for.
const TARGET: &str = "wasm32-unknown-unknown";
/// What `plugin dev` changes of cargo's own profile for development, whose compiled macros the tests share: small, and still quick.
const QUICK: [&str; 4] = ["opt-level=1", "debug=false", "strip=true", "codegen-units=16"];

/// The folder of a crate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crate<'a> {
    /// Absolute.
    pub(super) path: &'a Path,
}

impl Crate<'_> {
    /// `cargo test`, in a process of its own.
    pub(super) fn tests(&self, quiet: bool, arguments: &[OsString]) -> Command {
        let mut command = self.cargo();
        command.arg("test").args(quiet.then_some("--quiet")).args(arguments);
        command
    }

    /// cargo, in this folder.
    fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(self.path).env_remove("CARAPACE_TEST_COMPONENT").env_remove("CARAPACE_TEST_HOST");
        command
    }

    fn rustc(&self, arguments: &[&str]) -> Outcome<String> {
        let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let out = started(command.current_dir(self.path).args(arguments).output())?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Compiles it. What the compiler says goes to standard error as it comes.
    pub(super) fn compile(&self, profile: Profile, arguments: &[OsString]) -> Outcome<Compiled> {
        let version = self.rustc(&["-vV"])?;
        let metadata = self.metadata(arguments)?;
        let core = core_module(&metadata, &self.path.join("Cargo.toml"), profile).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{} makes no cdylib", self.path.display()))
                .help("Cargo.toml: [lib] crate-type = [\"cdylib\", \"rlib\"]")
        })?;
        let mut command = self.cargo();
        command.args(["build", "--lib", "--target", TARGET]);
        match profile {
            Profile::Release => {
                command.arg("--release");
                command.arg("--config").arg(self.one_place(&metadata, &version)?);
            }
            Profile::Quick => {
                for setting in QUICK {
                    command.args(["--config", &format!("profile.dev.{setting}")]);
                }
            }
        }
        command.args(arguments);
        if !started(command.status())?.success() {
            return Err(self.not_compiled(arguments));
        }
        let compiler = version.lines().next().unwrap_or_default().to_owned();
        Ok(Compiled { wasm: core, compiler })
    }

    fn not_compiled(&self, arguments: &[OsString]) -> Failure {
        let failure = Failure::new(Exit::Failed, "the component could not be compiled");
        let builds_std = arguments.iter().any(|a| a.to_string_lossy().starts_with("build-std"));
        let has_target = || {
            let sysroot = self.rustc(&["--print", "sysroot"]).unwrap_or_default();
            Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir()
        };
        if builds_std || has_target() {
            return failure.help("what the compiler said stands above");
        }
        failure.help(format!(
            "this Rust has no standard library for {TARGET}: rustup target add {TARGET}\n\
             or build that library from its source: RUSTC_BOOTSTRAP=1 carapace plugin build -- -Z build-std=std,panic_abort"
        ))
    }

    /// What cargo knows of the crate and of every crate that it is built with.
    fn metadata(&self, arguments: &[OsString]) -> Outcome<Value> {
        let mut command = self.cargo();
        command.args(["metadata", "--format-version", "1", "--filter-platform", TARGET]);
        command.args(
            arguments.iter().filter(|a| [OsStr::new("--offline"), OsStr::new("--locked")].contains(&a.as_os_str())),
        );
        let out = started(command.stderr(Stdio::inherit()).output())?;
        if !out.status.success() {
            return Err(Failure::new(Exit::Failed, format!("cargo cannot make sense of {}", self.path.display()))
                .help("what cargo said stands above"));
        }
        serde_json::from_slice(&out.stdout).or_fail("cargo metadata")
    }

    /// Compiler flags by which no path of this machine gets into the code: the same source gives the same bytes in every folder.
    fn one_place(&self, metadata: &Value, version: &str) -> Outcome<String> {
        let mut places: Vec<(PathBuf, String)> = Vec::new();
        let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
            std::env::var_os("HOME")
                .or_else(|| std::env::var_os("USERPROFILE"))
                .map(|h| PathBuf::from(h).join(".cargo"))
        });
        places.extend(cargo_home.map(|home| (home, "/cargo".to_owned())));
        let hash = version.lines().find_map(|l| l.strip_prefix("commit-hash: ")).unwrap_or("unknown");
        let sysroot = self.rustc(&["--print", "sysroot"])?;
        places.push((Path::new(sysroot.trim()).join("lib/rustlib/src/rust"), format!("/rustc/{hash}")));
        if let Some(target) = metadata.get("target_directory").and_then(Value::as_str) {
            places.push((target.into(), "/target".to_owned()));
        }
        let packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
        for package in packages.filter(|p| p.get("source").is_none_or(Value::is_null)) {
            let text = |key: &str| package.get(key).and_then(Value::as_str);
            if let (Some(name), Some(folder)) =
                (text("name"), text("manifest_path").and_then(|p| Path::new(p).parent()))
            {
                places.push((folder.to_path_buf(), format!("/{name}")));
            }
        }
        // The compiler takes the last that fits, and the folder within a folder fits better.
        places.sort_by_key(|(place, _)| place.components().count());
        let flags: Vec<String> =
            places.iter().map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display())).collect();
        let list = serde_json::to_string(&flags).or_fail("the compiler's flags")?;
        Ok(format!("target.{TARGET}.rustflags={list}"))
    }
}

fn started<T>(result: std::io::Result<T>) -> Outcome<T> {
    super::started(Language::Rust, result)
}

/// Where cargo puts the core module of the package with that `Cargo.toml`.
fn core_module(metadata: &Value, cargo_toml: &Path, profile: Profile) -> Option<PathBuf> {
    let here =
        |p: &&Value| p.get("manifest_path").and_then(Value::as_str).is_some_and(|path| Path::new(path) == cargo_toml);
    let package = metadata.get("packages")?.as_array()?.iter().find(here)?;
    let is_cdylib =
        |t: &&Value| t.get("crate_types").and_then(Value::as_array).is_some_and(|k| k.iter().any(|k| k == "cdylib"));
    let library = package.get("targets")?.as_array()?.iter().find(is_cdylib)?.get("name")?.as_str()?;
    let target_dir = Path::new(metadata.get("target_directory")?.as_str()?);
    let profile = if profile == Profile::Release { "release" } else { "debug" };
    Some(target_dir.join(TARGET).join(profile).join(format!("{}.wasm", library.replace('-', "_"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_core_module_is_where_cargo_puts_that_packages_cdylib() {
        let package = |path: &str, name: &str, kind: &str| json!({ "manifest_path": path, "targets": [{ "name": name, "crate_types": [kind] }] });
        let metadata = json!({
            "target_directory": "/t",
            "packages": [package("/a/Cargo.toml", "a", "cdylib"), package("/b/Cargo.toml", "my-b", "cdylib"), package("/c/Cargo.toml", "c", "lib")],
        });
        let found = |path: &str| core_module(&metadata, Path::new(path), Profile::Release);
        assert_eq!(found("/b/Cargo.toml"), Some(PathBuf::from("/t/wasm32-unknown-unknown/release/my_b.wasm")));
        assert_eq!(found("/c/Cargo.toml"), None);
        assert_eq!(found("/d/Cargo.toml"), None);
    }
}
