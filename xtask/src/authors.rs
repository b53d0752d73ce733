//! The templates, built as authors would build them. What the tutorial says is done by its test (`tests/tests/authors.rs`).

use crate::cargo::{root, run};
use crate::wasm::{Route, TARGET};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

const TEMPLATES: &str = "sdk/templates";
/// What the test host and the sockets of channels are tested with; of the components' workspace.
const FIXTURES: [&str; 2] = ["misbehaving", "wire"];
/// Where an author has this repository, seen from the crate.
const BESIDE: &str = "../carapace/";

/// Writes each crate below `out` and compiles it; the core module is then where `cargo build` would have put it. Gives the folders.
pub(crate) fn build(out: &Path) -> Result<Vec<PathBuf>> {
    let _ = std::fs::remove_dir_all(out);
    let folders = templates(out)?;
    let route = Route::find()?;
    for folder in &folders {
        // The versions that the components are tested with; cargo drops what is not needed.
        copy(&root().join("components/Cargo.lock"), &folder.join("Cargo.lock"))?;
        run(&mut route.cargo_build(folder, &route.target_dir(), &[]))?;
        let built = built(folder)?;
        copy(&route.target_dir().join(&built), &folder.join("target").join(&built))?;
    }
    for name in FIXTURES {
        fixture(&route, name, &out.join(name))?;
    }
    tools(&route, &out.join(TOOLS))?;
    Ok(folders)
}

/// Below the crates: `cargo` and `rustc` as an author would have them.
pub(crate) const TOOLS: &str = "tools";

/// Where the compiler in use cannot make components by itself, programs by its names that can: for the tests that are authors themselves.
fn tools(route: &Route, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, script) in route.scripts() {
        let path = folder.join(name);
        std::fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

/// Where cargo puts a crate's core module, below its target directory.
pub(crate) fn built(folder: &Path) -> Result<PathBuf> {
    let file = format!("{}.wasm", package(&read(&folder.join("Cargo.toml"))?)?.replace('-', "_"));
    Ok(Path::new(TARGET).join("release").join(file))
}

/// A fixture's manifest and core module, where a crate of an author's would have them.
fn fixture(route: &Route, name: &str, out: &Path) -> Result<()> {
    let folder = root().join("components/fixtures").join(name);
    run(&mut route.cargo_build(&folder, &route.target_dir(), &[]))?;
    let built = built(&folder)?;
    copy(&route.target_dir().join(&built), &out.join("target").join(&built))?;
    copy(&folder.join("carapace.toml"), &out.join("carapace.toml"))
}

/// The crates' tests share what the components' tests have compiled.
pub(crate) fn host_target() -> PathBuf {
    root().join("components/target")
}

fn templates(out: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let kinds = root().join(TEMPLATES);
    for entry in std::fs::read_dir(&kinds).with_context(|| format!("cannot read {}", kinds.display()))?.flatten() {
        // Those for other languages are built by their own tools.
        if !entry.path().join("Cargo.toml").is_file() {
            continue;
        }
        let folder = out.join(format!("template-{}", entry.file_name().to_string_lossy()));
        copy_tree(&entry.path(), &folder)?;
        folders.push(folder);
    }
    folders.sort();
    Ok(folders)
}

/// The name of a `Cargo.toml`'s package.
fn package(cargo_toml: &str) -> Result<String> {
    let name = cargo_toml.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.map(str::to_owned).context("a Cargo.toml without a line `name = \"…\"`")
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn parent(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { bail!("{} is in no folder", path.display()) };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Writes a file of an author's; the repository is here, not beside it.
fn write(path: &Path, text: &str) -> Result<()> {
    parent(path)?;
    let here = format!("{}/", root().display().to_string().replace('\\', "/"));
    std::fs::write(path, text.replace(BESIDE, &here)).with_context(|| format!("cannot write {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    parent(to)?;
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?.flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match () {
            () if entry.file_name() == "target" || entry.file_name() == "Cargo.lock" => {}
            () if path.is_dir() => copy_tree(&path, &to)?,
            () => write(&to, &read(&path)?)?,
        }
    }
    Ok(())
}
