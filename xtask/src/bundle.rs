//! Core modules to signed packages, by the `carapace` binary itself: a bundled component has no way in that a stranger's has not.

use crate::cargo::{program, program_here, run};
use crate::components::Component;
use crate::weights;
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Packages each component into `bundle`, and removes what no component makes any more.
pub(crate) fn package(carapace: &Path, built: &[(Component, PathBuf)], bundle: &Path) -> Result<()> {
    std::fs::create_dir_all(bundle).with_context(|| format!("cannot create {}", bundle.display()))?;
    for (component, core) in built {
        let out = bundle.join(format!("{}.wasm", component.name));
        let mut command = program(carapace);
        command.args(["plugin", "build", "--core"]).arg(core);
        command.arg("--manifest").arg(component.manifest()).arg("--out").arg(&out);
        run(&mut command)?;
    }
    remove_strangers(bundle, built)
}

/// Signs every package of the bundle with the local publisher's key, which is made in the state directory when it is missing, and
/// makes the bundle a registry whose index the same key signs. `whose`: arguments that name the state directory; none = the usual one.
pub(crate) fn sign(carapace: &Path, bundle: &Path, whose: &[String]) -> Result<()> {
    run(program_here(carapace).args(["plugin", "sign", "--bundle"]).arg(bundle).args(whose))?;
    // Made anew each time: what is built again under its version takes the place of what was built before.
    let _ = std::fs::remove_dir_all(bundle.join("packages"));
    let _ = std::fs::remove_file(bundle.join("index.json"));
    for path in files(bundle)?.iter().filter(|p| p.extension() == Some(OsStr::new("wasm"))) {
        run(program_here(carapace).args(["plugin", "publish"]).arg(path).arg("--to").arg(bundle).args(whose))?;
    }
    // It goes with the program that was built with it, and nobody renews it.
    let index = ["--id", "bundled", "--days", "36500"];
    run(program_here(carapace).args(["registry", "index"]).arg(bundle).args(index).args(whose))
}

/// Copies the packages without their signatures, and the files beside them: each test signs them with a key of its own.
pub(crate) fn copy_unsigned(bundle: &Path, to: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for path in files(bundle)? {
        if let Some(name) = path.file_name()
            && path.extension() == Some(OsStr::new("wasm"))
        {
            std::fs::copy(&path, to.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    let assets = bundle.join("assets");
    if assets.is_dir() {
        for path in files(&assets)? {
            weights::put(&path, &to.join("assets"))?;
        }
    }
    Ok(())
}

fn remove_strangers(bundle: &Path, built: &[(Component, PathBuf)]) -> Result<()> {
    for path in files(bundle)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".wasm").or_else(|| name.strip_suffix(".sigstore.json")).unwrap_or(&name);
        if !built.iter().any(|(component, _)| component.name == stem) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}
