//! What authors are told, built as they would build it: the tutorial's crate out of the tutorial's text, and the templates.

use crate::cargo::{root, run};
use crate::wasm::{Route, TARGET};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

const TUTORIAL: &str = "docs/src/authors/first-tool.md";
const TEMPLATES: &str = "sdk/templates";
/// What the test host is tested with; of the components' workspace.
const FIXTURE: &str = "components/fixtures/misbehaving";
/// Where an author has this repository, seen from the crate.
const BESIDE: &str = "../carapace/";

/// Writes each crate below `out` and compiles it; the core module is then where `cargo build` would have put it. Gives the folders.
pub(crate) fn build(out: &Path) -> Result<Vec<PathBuf>> {
    let _ = std::fs::remove_dir_all(out);
    let mut folders = vec![tutorial(out)?];
    folders.extend(templates(out)?);
    let route = Route::find()?;
    for folder in &folders {
        // The versions that the components are tested with; cargo drops what is not needed.
        copy(&root().join("components/Cargo.lock"), &folder.join("Cargo.lock"))?;
        run(&mut route.cargo_build(folder, &route.target_dir(), &[]))?;
        let built = built(folder)?;
        copy(&route.target_dir().join(&built), &folder.join("target").join(&built))?;
    }
    fixture(&route, &out.join("misbehaving"))?;
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

/// The fixture's manifest and core module, where a crate of an author's would have them.
fn fixture(route: &Route, out: &Path) -> Result<()> {
    let folder = root().join(FIXTURE);
    run(&mut route.cargo_build(&folder, &route.target_dir(), &[]))?;
    let built = built(&folder)?;
    copy(&route.target_dir().join(&built), &out.join("target").join(&built))?;
    copy(&folder.join("carapace.toml"), &out.join("carapace.toml"))
}

/// The crates' tests share what the components' tests have compiled.
pub(crate) fn host_target() -> PathBuf {
    root().join("components/target")
}

fn tutorial(out: &Path) -> Result<PathBuf> {
    let text = read(&root().join(TUTORIAL))?;
    let files = files(&text);
    let (_, cargo_toml) =
        files.iter().find(|(name, _)| name == "Cargo.toml").context("the tutorial has no Cargo.toml")?;
    let folder = out.join(package(cargo_toml)?);
    for (name, content) in &files {
        write(&folder.join(name), content)?;
    }
    Ok(folder)
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

/// The files of a page: each fenced block whose paragraph before begins with a file's name in backquotes.
fn files(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut name: Option<String> = None;
    let mut begins = true;
    let mut block: Option<String> = None;
    for line in page.lines() {
        if line.starts_with("```") {
            match (block.take(), name.take()) {
                (Some(content), Some(name)) => found.push((name, content)),
                (None, kept) => (block, name) = (Some(String::new()), kept),
                (Some(_), None) => {}
            }
        } else if let Some(content) = &mut block {
            content.push_str(line);
            content.push('\n');
        } else if line.is_empty() {
            begins = true;
            continue;
        } else if begins {
            let quoted = line.strip_prefix('`').and_then(|rest| rest.split_once('`'));
            name = quoted.map(|(name, _)| name.to_owned()).filter(|name| name.contains('.') && !name.contains(' '));
        }
        begins = false;
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pages_files_are_the_blocks_whose_paragraph_names_them() {
        let page = "Text\n\n`a.toml`. The first,\nand more:\n\n```toml\nx = 1\n\n```\n\nRun `b.sh`:\n\n```bash\nc\n```\n\n`call` it:\n\n```rust\nd\n```\n";
        assert_eq!(files(page), [("a.toml".to_owned(), "x = 1\n\n".to_owned())]);
    }

    #[test]
    fn the_tutorial_has_a_whole_crate() {
        let names: Vec<String> =
            files(&read(&root().join(TUTORIAL)).unwrap()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Cargo.toml", "carapace.toml", "src/lib.rs"]);
    }
}
