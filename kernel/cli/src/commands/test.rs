//! `carapace plugin test` and `carapace plugin test-host`: a component's tests, against its code and against what was built of it.

use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_registry::package;
use carapace_test_host::HostError;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Serves one test process over standard input and output.
pub(crate) fn host(file: &Path) -> Outcome {
    let bytes = std::fs::read(file).or_fail(format!("cannot read {}", file.display()))?;
    match carapace_test_host::serve(bytes, std::io::stdin().lock(), std::io::stdout().lock()) {
        // The test's process ended in the midst of an answer.
        Err(HostError::Io(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e @ HostError::Component(_)) => Err(Failure::new(Exit::Refused, e.to_string()).context(file.display())),
        other => other.or_fail(file.display()),
    }
}

/// Runs a crate's tests natively, then against the component. The second run is made whatever the first one says.
pub(crate) fn run(folder: &Path, component: Option<&Path>, arguments: &[OsString]) -> Outcome {
    let folder = std::path::absolute(folder).or_fail(folder.display())?;
    if !folder.join("Cargo.toml").is_file() {
        let text = format!("{} has no Cargo.toml", folder.display());
        return Err(
            Failure::new(Exit::Usage, text).help("carapace plugin test DIR, with the folder of a component's crate")
        );
    }
    eprintln!("Testing the code, in the tests' own process.");
    let code = succeeds(tests(&folder, arguments))?;

    let built = match component {
        Some(file) => file.to_path_buf(),
        None => build(&folder)?,
    };
    let packages = tempfile::tempdir()?;
    let package = packages.path().join("component.wasm");
    trust::write_whole(&package, &packaged(&built, &folder.join("carapace.toml"))?)?;
    eprintln!("Testing the component {}, under the kernel's limits.", built.display());
    let mut command = tests(&folder, arguments);
    command.env("CARAPACE_TEST_COMPONENT", &package).env("CARAPACE_TEST_HOST", std::env::current_exe()?);
    let component = succeeds(command)?;

    let failed = match (code, component) {
        (true, true) => {
            eprintln!("Both passed.");
            return Ok(());
        }
        (true, false) => "the tests pass in their own process, and fail against the component",
        (false, true) => "the tests fail in their own process, and pass against the component",
        (false, false) => "the tests fail, in their own process and against the component",
    };
    Err(Failure::new(Exit::Failed, failed))
}

fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).env_remove("CARAPACE_TEST_COMPONENT").env_remove("CARAPACE_TEST_HOST");
    command
}

fn tests(folder: &Path, arguments: &[OsString]) -> Command {
    let mut command = cargo(folder);
    command.arg("test").args(arguments);
    command
}

fn started<T>(result: std::io::Result<T>) -> Outcome<T> {
    result.map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot start cargo: {e}")).help("install Rust: https://rustup.rs")
    })
}

fn succeeds(mut command: Command) -> Outcome<bool> {
    Ok(started(command.status())?.success())
}

/// Builds the crate for the components' target; gives the core module.
fn build(folder: &Path) -> Outcome<PathBuf> {
    eprintln!("Building the component.");
    let mut command = cargo(folder);
    command.args(["build", "--release", "--target", TARGET]);
    if !succeeds(command)? {
        return Err(Failure::new(Exit::Failed, "the component could not be built").help(format!(
            "rustup target add {TARGET}; or build it in another way, and name the file with --component"
        )));
    }
    let mut command = cargo(folder);
    let out = started(command.args(["metadata", "--no-deps", "--format-version", "1"]).output())?;
    let metadata: Value = serde_json::from_slice(&out.stdout).or_fail("cargo metadata")?;
    core_module(&metadata, &folder.join("Cargo.toml")).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{} makes no cdylib", folder.display()))
            .help("Cargo.toml: [lib] crate-type = [\"cdylib\", \"rlib\"]")
    })
}

/// Where cargo puts the core module of the package with that `Cargo.toml`.
fn core_module(metadata: &Value, cargo_toml: &Path) -> Option<PathBuf> {
    let here =
        |p: &&Value| p.get("manifest_path").and_then(Value::as_str).is_some_and(|path| Path::new(path) == cargo_toml);
    let package = metadata.get("packages")?.as_array()?.iter().find(here)?;
    let is_cdylib =
        |t: &&Value| t.get("crate_types").and_then(Value::as_array).is_some_and(|k| k.iter().any(|k| k == "cdylib"));
    let library = package.get("targets")?.as_array()?.iter().find(is_cdylib)?.get("name")?.as_str()?;
    let target_dir = Path::new(metadata.get("target_directory")?.as_str()?);
    Some(target_dir.join(TARGET).join("release").join(format!("{}.wasm", library.replace('-', "_"))))
}

/// A package as it is; anything else with the crate's manifest.
fn packaged(file: &Path, manifest: &Path) -> Outcome<Vec<u8>> {
    let bytes = std::fs::read(file).or_fail(format!("cannot read {}", file.display()))?;
    if package::read_section(&bytes).is_ok() {
        return Ok(bytes);
    }
    let text = std::fs::read_to_string(manifest).or_fail(format!("cannot read {}", manifest.display()))?;
    package::build(&bytes, &text).map_err(|e| {
        Failure::new(Exit::Usage, e.to_string()).context(format!("{} with {}", file.display(), manifest.display()))
    })
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
        let found = |path: &str| core_module(&metadata, Path::new(path));
        assert_eq!(found("/b/Cargo.toml"), Some(PathBuf::from("/t/wasm32-unknown-unknown/release/my_b.wasm")));
        assert_eq!(found("/c/Cargo.toml"), None);
        assert_eq!(found("/d/Cargo.toml"), None);
    }

    #[test]
    fn a_core_module_gets_the_crates_manifest_and_a_package_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (file, manifest) = (folder.path().join("c.wasm"), folder.path().join("carapace.toml"));
        let text = |name: &str| carapace_registry::testing::manifest(name, "0.1.0", "[[tool]]\nname = \"run\"\n");
        std::fs::write(&manifest, text("crate")).unwrap();
        let component = carapace_registry::testing::component(&["log"], &["tools"]);
        std::fs::write(&file, carapace_registry::testing::assemble(&component, text("package").as_bytes())).unwrap();
        let name = |bytes: &[u8]| package::read_manifest(bytes).unwrap().0.component.name.to_string();
        assert_eq!(name(&packaged(&file, &manifest).unwrap()), "package");
        std::fs::write(&file, b"no wasm at all").unwrap();
        assert!(packaged(&file, &manifest).unwrap_err().to_string().contains("c.wasm"));
        assert!(packaged(&folder.path().join("gone"), &manifest).unwrap_err().to_string().contains("cannot read"));
    }
}
