//! `carapace plugin build`: a package out of a folder, or out of what some compiler made.

use super::folder::{Folder, Profile};
use crate::args::BuildArgs;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_contract::Digest;
use carapace_contract::manifest::Manifest;
use carapace_registry::{imports, package};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &BuildArgs) -> Outcome {
    match (&args.core, &args.manifest, &args.out) {
        (Some(core), Some(manifest), Some(out)) => {
            let text = trust::read_manifest(manifest)?;
            finish(&make(core, &text).map_err(|e| e.context(manifest.display()))?, out)
        }
        _ => {
            let folder = Folder::at(&args.folder)?;
            let bytes = of_folder(&folder, args.manifest.as_deref(), Profile::Release, &args.arguments)?;
            let out = match &args.out {
                Some(out) => out.clone(),
                None => {
                    let name = package::read_manifest(&bytes).or_fail("the package")?.0.component.name;
                    let bundle = folder.path.join("bundle");
                    std::fs::create_dir_all(&bundle).or_fail(format!("cannot create {}", bundle.display()))?;
                    bundle.join(format!("{name}.wasm"))
                }
            };
            finish(&bytes, &out)
        }
    }
}

/// Compiles a folder and makes a package of it, which says what compiled it.
pub(crate) fn of_folder(
    folder: &Folder,
    manifest: Option<&Path>,
    profile: Profile,
    arguments: &[OsString],
) -> Outcome<Vec<u8>> {
    let file = manifest.map_or_else(|| folder.path.join("carapace.toml"), PathBuf::from);
    let text = trust::read_manifest(&file)?;
    // Before the compiler takes its time.
    let parsed =
        Manifest::parse(&text).map_err(|e| Failure::new(Exit::Usage, e.to_string()).context(file.display()))?;
    if parsed.build.is_some() {
        let why = "`[build]` is what `carapace plugin build` writes into a package";
        return Err(Failure::new(Exit::Usage, why).context(file.display()).help("remove that section"));
    }
    let compiled = folder.compile(profile, arguments)?;
    let text = format!("{}\n\n[build]\ncompiler = {:?}\n", text.trim_end(), compiled.compiler);
    make(&compiled.wasm, &text).map_err(|e| e.context(file.display()))
}

fn make(core: &Path, manifest: &str) -> Outcome<Vec<u8>> {
    let wasm = trust::read_package(core)?;
    package::build(&wasm, manifest).map_err(|e| Failure::new(Exit::Usage, e.to_string()))
}

fn finish(bytes: &[u8], out: &Path) -> Outcome {
    let (parsed, _) = package::read_manifest(bytes).or_fail(out.display())?;
    for warning in imports::check(bytes, &parsed).or_fail(out.display())?.warnings {
        eprintln!("warning: {warning}");
    }
    trust::write_whole(out, bytes)?;
    let (component, digest) = (&parsed.component, Digest::of(bytes));
    println!("{} {} ({} bytes, {digest})", component.name, component.version, bytes.len());
    eprintln!("{}", out.display());
    Ok(())
}
