//! Components that are not Rust for `wasm32-unknown-unknown`: the TypeScript templates and examples, the Python example, and a stranger's
//! Rust component for `wasm32-wasip2`. Built with their own toolchains from npm, PyPI and rustup; what those cannot bring is left out
//! with a word, and the tests that need it are skipped (or fail, on a build server).

use crate::cargo::{cargo, program, root, run, run_bounded, target_dir, which};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const TYPESCRIPT: [(&str, &str); 5] = [
    ("template-tool-ts", "sdk/templates/tool-ts"),
    ("template-provider-ts", "sdk/templates/provider-ts"),
    ("template-channel-ts", "sdk/templates/channel-ts"),
    ("todo", "sdk/examples/typescript"),
    (TWIN, "sdk/examples/typescript-webhook"),
];
/// The component of which that example is the twin, and by which name it is built.
const ORIGINAL: &str = "components/channels/webhook";
const TWIN: &str = "webhook-ts";
const SDK: &str = "sdk/typescript";
const PYTHON: &str = "sdk/examples/python";
const STRANGER: &str = "tests/foreign/wasip2";
/// Where an author has this repository, seen from the component.
const BESIDE: [&str; 2] = ["file:../carapace/", "file:../../"];
/// Downloads of some 80 MB.
const PATIENCE: Duration = Duration::from_secs(600);

/// What can be built here: folders of TypeScript, to be tested, and in `out` one `NAME.wasm` each, without a manifest.
pub(crate) fn build(out: &Path) -> Result<Vec<PathBuf>> {
    let _ = std::fs::remove_dir_all(out);
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut folders = Vec::new();
    match npm() {
        Err(why) => left_out("TypeScript components", &why),
        Ok(npm) => {
            // Its own tests, of what needs no component.
            folders.push(root().join(SDK));
            for (name, source) in TYPESCRIPT {
                folders.push(typescript(&npm, &root().join(source), &out.join(name))?);
                copy(&out.join(name).join("build/component.wasm"), &out.join(format!("{name}.wasm")))?;
            }
        }
    }
    match componentize_py() {
        Err(why) => left_out("the Python example", &why),
        Ok(bin) => {
            let mut command = program(root().join(PYTHON).join("build.sh"));
            let path = std::env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(bin).chain(std::env::split_paths(&path));
            run(command.env("PATH", std::env::join_paths(all)?))?;
            copy(&root().join(PYTHON).join("build/component.wasm"), &out.join("words.wasm"))?;
        }
    }
    match wasip2() {
        Err(why) => left_out("the component for wasm32-wasip2", &why),
        Ok(()) => {
            let target = target_dir()?.join("wasip2");
            let mut command = cargo();
            command.current_dir(root().join(STRANGER)).args([
                "build",
                "--release",
                "--locked",
                "--target",
                "wasm32-wasip2",
            ]);
            run(command.arg("--target-dir").arg(&target))?;
            copy(&target.join("wasm32-wasip2/release/foreign.wasm"), &out.join("foreign.wasm"))?;
        }
    }
    Ok(folders)
}

/// The command that tests a folder of TypeScript as its author would.
pub(crate) fn tests(folder: &Path) -> Result<Command> {
    let mut command = program(npm()?);
    command.current_dir(folder).args(["test", "--silent"]);
    Ok(command)
}

/// The command that runs the tests of a component in Rust against its twin in another language, if that could be built below `out`.
pub(crate) fn twin_tests(carapace: &Path, out: &Path) -> Result<Option<Command>> {
    let component = out.join(format!("{TWIN}.wasm"));
    if !component.is_file() {
        return Ok(None);
    }
    let (original, package) = (root().join(ORIGINAL), out.join(TWIN).join("twin.wasm"));
    let mut build = program(carapace);
    build.args(["plugin", "build", "--core"]).arg(component).arg("--manifest").arg(original.join("carapace.toml"));
    run(build.arg("--out").arg(&package))?;
    let mut command = cargo();
    command.current_dir(original).args(["test", "--no-fail-fast"]);
    command.env("CARAPACE_TEST_COMPONENT", package).env("CARAPACE_TEST_HOST", carapace);
    Ok(Some(command))
}

fn left_out(what: &str, why: &anyhow::Error) {
    eprintln!("   {what} cannot be built here and are left out: {why:#}");
}

/// npm, with the SDK's own packages in place.
fn npm() -> Result<PathBuf> {
    let npm = which("npm").context("there is no npm; install Node.js 20 or newer")?;
    let sdk = root().join(SDK);
    if !sdk.join("node_modules/componentize-qjs").is_dir() {
        let mut command = program(&npm);
        command.current_dir(&sdk).args(["ci", "--no-audit", "--no-fund"]);
        if !run_bounded(&mut command, PATIENCE)? {
            bail!("`npm ci` in sdk/typescript failed");
        }
    }
    Ok(npm)
}

/// Builds a copy, so that the tree stays as it is.
fn typescript(npm: &Path, source: &Path, folder: &Path) -> Result<PathBuf> {
    copy_tree(source, folder)?;
    let package = folder.join("package.json");
    let mut text = std::fs::read_to_string(&package).with_context(|| format!("cannot read {}", package.display()))?;
    let here = format!("file:{}/", root().display().to_string().replace('\\', "/"));
    for beside in BESIDE {
        text =
            text.replace(&format!("\"{beside}typescript"), &format!("\"{here}sdk/typescript")).replace(beside, &here);
    }
    std::fs::write(&package, text).with_context(|| format!("cannot write {}", package.display()))?;
    run(program(npm).current_dir(folder).args(["install", "--no-audit", "--no-fund", "--silent"]))?;
    run(program(npm).current_dir(folder).args(["run", "build", "--silent"]))?;
    Ok(folder.to_path_buf())
}

/// The folder with `componentize-py`, in the version that the example names.
fn componentize_py() -> Result<PathBuf> {
    if cfg!(windows) {
        bail!("its build.sh needs a POSIX shell");
    }
    let python = which("python3").context("there is no python3")?;
    let venv = target_dir()?.join("python");
    let bin = venv.join("bin");
    if !bin.join("componentize-py").is_file() {
        if !run_bounded(program(&python).args(["-m", "venv"]).arg(&venv), PATIENCE)? {
            bail!("python3 makes no environment");
        }
        let mut pip = program(bin.join("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"]);
        if !run_bounded(pip.arg(root().join(PYTHON).join("requirements.txt")), PATIENCE)? {
            bail!("pip does not bring componentize-py");
        }
    }
    Ok(bin)
}

/// The target's standard library, which only rustup has.
fn wasip2() -> Result<()> {
    let rustup = which("rustup").context("there is no rustup, which brings the target's standard library")?;
    let mut command = program(rustup);
    command.args(["target", "add", "wasm32-wasip2"]).env("RUSTUP_MAX_RETRIES", "1");
    if run_bounded(&mut command, PATIENCE)? { Ok(()) } else { bail!("rustup does not bring it") }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        match path.is_dir() {
            true if name == "node_modules" || name == "build" => {}
            true => copy_tree(&path, &to.join(name))?,
            false => copy(&path, &to.join(name))?,
        }
    }
    Ok(())
}
