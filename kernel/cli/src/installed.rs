//! Where packages lie: staged while their owner reads what they ask, installed once that was agreed to.
//!
//! An installed package is `packages/<digest>.wasm`, its signature `packages/<digest>.<publisher>.sigstore.json`: the same bytes may be
//! installed as two publishers' components. A staged one has a directory of its own, which it loses with the command that made it.

use crate::failure::{OrFail, Outcome};
use crate::trust::{make_private_dir, signature_path};
use carapace_config::StatePaths;
use carapace_contract::control::StageId;
use carapace_contract::{ComponentId, Digest, Name};
use carapace_registry::{VerifiedPackage, files};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const PACKAGE: &str = "package.wasm";
/// The largest name of a place that a package came from, bytes.
const MAX_SOURCE: u64 = 4 << 10;
/// Held as long as the stage is in use.
const IN_USE: &str = "in-use";

/// Where an installed package lies.
pub(crate) fn package(paths: &StatePaths, digest: &Digest) -> PathBuf {
    paths.packages().join(format!("{}.wasm", digest.hex()))
}

/// Where its signature by that publisher lies.
pub(crate) fn signature(paths: &StatePaths, digest: &Digest, publisher: &Name) -> PathBuf {
    let file = paths.packages().join(format!("{}.{publisher}.sigstore.json", digest.hex()));
    if file.exists() {
        return file;
    }
    // Until 0.1, signatures were called by the digest alone.
    let earlier = signature_path(&package(paths, digest));
    if earlier.exists() { earlier } else { file }
}

/// Both are there.
pub(crate) fn is_whole(paths: &StatePaths, digest: &Digest, publisher: &Name) -> bool {
    package(paths, digest).is_file() && signature(paths, digest, publisher).is_file()
}

/// Where a package came from, as `plugins.lock` has it; none for what came with the bundle.
pub(crate) fn source(paths: &StatePaths, digest: &Digest, publisher: &Name) -> Option<String> {
    read_source(&paths.packages().join(format!("{}.{publisher}.source", digest.hex())))
}

fn read_source(file: &Path) -> Option<String> {
    String::from_utf8(files::read_ordinary(file, MAX_SOURCE).ok()?).ok()
}

/// Puts a verified package where installed ones lie, with the bundle that verified it and where it came from. Without a row that names it,
/// it is nothing.
pub(crate) fn put(paths: &StatePaths, verified: &VerifiedPackage, bundle: &[u8], source: Option<&str>) -> Outcome {
    make_private_dir(&paths.packages())?;
    let digest = verified.digest();
    let write =
        |file: &Path, bytes: &[u8]| files::replace(file, bytes).or_fail(format!("cannot write {}", file.display()));
    write(&package(paths, &digest), verified.bytes())?;
    let beside = |what: &str| paths.packages().join(format!("{}.{}.{what}", digest.hex(), verified.id().publisher));
    source.map_or(Ok(()), |source| write(&beside("source"), source.as_bytes()))?;
    write(&beside("sigstore.json"), bundle)
}

/// Puts another signature of an installed package in the place of the one that is there.
pub(crate) fn renew(paths: &StatePaths, verified: &VerifiedPackage, bundle: &[u8]) -> Outcome {
    let there = signature(paths, &verified.digest(), &verified.id().publisher);
    if fs::read(there).is_ok_and(|old| old == bundle) { Ok(()) } else { put(paths, verified, bundle, None) }
}

/// A package beside the installed ones, until its owner has agreed to it. It goes when this is dropped; if its process is killed, with the
/// next sweep.
#[derive(Debug)]
pub(crate) struct Stage {
    id: StageId,
    paths: StatePaths,
    _in_use: File,
}

impl Stage {
    /// Stages a package with the bundle that verified it, and where it came from.
    pub(crate) fn new(paths: &StatePaths, verified: &VerifiedPackage, bundle: &[u8], source: &str) -> Outcome<Self> {
        make_private_dir(&paths.packages())?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).or_fail("no randomness for a staging directory")?;
        let id = StageId::from_bytes(random);
        let dir = dir(paths, &id);
        let what = || format!("cannot stage the package in {}", dir.display());
        // A sweep sees it in use, or not at all.
        let sweeps = files::hold(&paths.packages()).or_fail(what())?;
        make_private_dir(&stages(paths))?;
        make_private_dir(&dir)?;
        let in_use = File::create_new(dir.join(IN_USE)).or_fail(what())?;
        in_use.lock().or_fail(what())?;
        drop(sweeps);
        let stage = Self { id, paths: paths.clone(), _in_use: in_use };
        let file = staged(paths, &stage.id);
        files::replace(&file, verified.bytes()).or_fail(what())?;
        files::replace(&signature_path(&file), bundle).or_fail(what())?;
        files::replace(&file.with_extension("source"), source.as_bytes()).or_fail(what())?;
        Ok(stage)
    }

    /// By which name the kernel finds it.
    pub(crate) fn id(&self) -> &StageId {
        &self.id
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let Ok(_sweeps) = files::hold(&self.paths.packages()) else { return };
        // What cannot be removed now, a sweep removes.
        let _ = fs::remove_dir_all(dir(&self.paths, &self.id));
        let _ = fs::remove_dir(stages(&self.paths));
    }
}

/// The file of a staged package, its signature beside it.
pub(crate) fn staged(paths: &StatePaths, stage: &StageId) -> PathBuf {
    dir(paths, stage).join(PACKAGE)
}

/// Where a staged package came from.
pub(crate) fn staged_source(paths: &StatePaths, stage: &StageId) -> Option<String> {
    read_source(&staged(paths, stage).with_extension("source"))
}

fn stages(paths: &StatePaths) -> PathBuf {
    paths.packages().join("staging")
}

fn dir(paths: &StatePaths, stage: &StageId) -> PathBuf {
    stages(paths).join(stage.to_string())
}

/// What the rows refer to; everything else in the directories of packages and artefacts is what a crash or a change of mind left behind.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    files: BTreeSet<String>,
    digests: BTreeSet<String>,
}

impl Kept {
    /// A package that is installed, or kept for a rollback.
    pub(crate) fn add(&mut self, component: &ComponentId, digest: &Digest) {
        let hex = digest.hex();
        let publisher = &component.publisher;
        self.files.extend([format!("{hex}.{publisher}.sigstore.json"), format!("{hex}.{publisher}.source")]);
        self.files.extend([format!("{hex}.wasm"), format!("{hex}.sigstore.json")]);
        self.digests.insert(hex);
    }

    /// Removes everything else, stages that are in use excepted.
    pub(crate) fn sweep(&self, paths: &StatePaths) {
        sweep_digests(&paths.packages(), |name| self.files.contains(name));
        sweep_digests(&paths.aot(), |name| name.get(..64).is_some_and(|digest| self.digests.contains(digest)));
        sweep_stages(paths);
    }
}

/// Removes files that are called by a digest and are not kept.
fn sweep_digests(place: &Path, is_kept: impl Fn(&str) -> bool) {
    for file in fs::read_dir(place).into_iter().flatten().filter_map(Result::ok) {
        let name = file.file_name().to_string_lossy().into_owned();
        let is_ours = name.get(..64).is_some_and(|digest| digest.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_ours && !is_kept(&name) && fs::remove_file(file.path()).is_err() {
            tracing::warn!(file = %file.path().display(), "a package that nothing refers to could not be removed");
        }
    }
}

/// Removes stages whose command is gone.
fn sweep_stages(paths: &StatePaths) {
    let Ok(found) = fs::read_dir(stages(paths)) else { return };
    let Ok(_sweeps) = files::hold(&paths.packages()) else { return };
    for stage in found.filter_map(Result::ok) {
        let in_use = File::open(stage.path().join(IN_USE)).is_ok_and(|file| file.try_lock().is_err());
        if !in_use && fs::remove_dir_all(stage.path()).is_err() {
            tracing::warn!(stage = %stage.path().display(), "a staged package could not be removed");
        }
    }
    let _ = fs::remove_dir(stages(paths));
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_registry::testing;

    fn here() -> (tempfile::TempDir, StatePaths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = StatePaths::under(dir.path());
        (dir, paths)
    }

    fn package(name: &str) -> VerifiedPackage {
        let text = testing::manifest(name, "0.1.0", &format!("[[tool]]\nname = \"{name}\"\n"));
        testing::verified(testing::component(&[], &["tools"]), &text)
    }

    #[test]
    fn a_sweep_leaves_what_another_command_is_just_staging_and_takes_what_a_dead_one_left() {
        let (_dir, paths) = here();
        let (one, two) = (package("one"), package("two"));
        let busy = Stage::new(&paths, &one, b"bundle", "house").unwrap();
        let dead = Stage::new(&paths, &two, b"bundle", "house").unwrap();
        // As if its process were gone: nobody holds the file, and nobody cleaned up.
        let left = super::dir(&paths, dead.id());
        dead._in_use.unlock().unwrap();
        std::mem::forget(dead);
        Kept::default().sweep(&paths);
        assert!(staged(&paths, busy.id()).is_file() && !left.exists());
        drop(busy);
        assert!(!stages(&paths).exists(), "nothing stays when nothing is staged");
    }

    #[test]
    fn a_stage_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, paths) = here();
        let stage = Stage::new(&paths, &package("one"), b"bundle", "house").unwrap();
        for place in [stages(&paths), super::dir(&paths, stage.id())] {
            assert_eq!(fs::metadata(place).unwrap().permissions().mode() & 0o777, 0o700);
        }
        assert_eq!(fs::read(signature_path(&staged(&paths, stage.id()))).unwrap(), b"bundle");
    }

    #[test]
    fn each_publishers_signature_of_the_same_bytes_has_a_place_of_its_own() {
        let (_dir, paths) = here();
        let package = package("one");
        put(&paths, &package, b"ours", Some("house")).unwrap();
        let (ours, theirs) = (package.id().publisher.clone(), "theirs".parse().unwrap());
        let beside = paths.packages().join(format!("{}.theirs.sigstore.json", package.digest().hex()));
        fs::write(&beside, b"theirs").unwrap();
        assert_eq!(fs::read(signature(&paths, &package.digest(), &ours)).unwrap(), b"ours");
        assert_eq!(fs::read(signature(&paths, &package.digest(), &theirs)).unwrap(), b"theirs");
        let mut kept = Kept::default();
        kept.add(package.id(), &package.digest());
        kept.sweep(&paths);
        assert_eq!(source(&paths, &package.digest(), &ours).as_deref(), Some("house"));
        assert!(!beside.exists() && is_whole(&paths, &package.digest(), &ours));
    }
}
