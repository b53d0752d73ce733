//! Keys, publishers and package files of the state directory.

use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_config::StatePaths;
use carapace_contract::{Digest, Name};
use carapace_registry::files::{self, Held, ReadError};
use carapace_registry::index;
use carapace_registry::keyless::TrustedRoot;
use carapace_registry::{DenyList, PublisherBook, SigningKey, Trust, VerifiedPackage};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The publisher of what is built here.
pub(crate) const LOCAL: &str = "local";

/// The id of a bundle directory's own index.
pub(crate) const BUNDLED: &str = "bundled";

/// ms since the epoch.
pub(crate) fn now_ms() -> u64 {
    ms_of(SystemTime::now())
}

/// A point in time as milliseconds since the epoch.
pub(crate) fn ms_of(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Makes the state directory, for its owner alone.
pub(crate) fn make_state_dir(paths: &StatePaths) -> Outcome {
    make_private_dir(paths.root())
}

/// Makes a directory that only its owner may enter.
pub(crate) fn make_private_dir(dir: &Path) -> Outcome {
    let what = || format!("cannot make the directory {}", dir.display());
    std::fs::create_dir_all(dir).or_fail(what())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).or_fail(what())?;
    }
    Ok(())
}

/// Takes a file away from everybody but its owner.
pub(crate) fn make_private_file(file: &Path) -> Outcome {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let what = || format!("cannot make {} private", file.display());
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).or_fail(what())?;
    }
    Ok(())
}

/// Keeps other commands from changing a file of the state directory between reading and writing it: a newer list of what must not run
/// is not undone by an older one that was read before.
pub(crate) fn hold(file: &Path) -> Outcome<Held> {
    if let Some(dir) = file.parent() {
        make_private_dir(dir)?;
    }
    files::hold(file).or_fail(format!("cannot hold {}", file.display()))
}

/// What trust rests on, from the state directory's files.
pub(crate) fn load(paths: &StatePaths) -> Outcome<Trust> {
    Ok(Trust {
        publishers: PublisherBook::load(&paths.publishers()).or_fail("cannot read the publishers")?,
        deny: DenyList::load(&paths.deny_list()).or_fail("cannot read the deny-list")?,
        root: TrustedRoot::load(&paths.trusted_root()).or_fail("cannot read the trusted root")?,
        now_ms: now_ms(),
        ..Trust::default()
    })
}

/// The local publisher's key: made, kept with mode 0600 and pinned when there is none.
pub(crate) fn local_key(paths: &StatePaths) -> Outcome<(SigningKey, bool)> {
    make_state_dir(paths)?;
    make_private_dir(&paths.keys())?;
    let file = paths.keys().join(format!("{LOCAL}.key"));
    let (key, made) = if file.exists() {
        (SigningKey::load(&file).or_fail("cannot read the local publisher's key")?, false)
    } else {
        let key = SigningKey::generate().or_fail("cannot make a key")?;
        key.save(&file).or_fail("cannot save the local publisher's key")?;
        (key, true)
    };
    let _alone = hold(&paths.publishers())?;
    let mut book = PublisherBook::load(&paths.publishers()).or_fail("cannot read the publishers")?;
    if book.by_fingerprint(&key.public().fingerprint()).is_none() {
        let id: Name = LOCAL.parse().or_fail("local publisher")?;
        book.pin(id, key.public(), now_ms()).or_fail("cannot pin the local publisher")?;
        book.save(&paths.publishers()).or_fail("cannot save the publishers")?;
    }
    Ok((key, made))
}

/// The bundle that belongs to a package file: `NAME.sigstore.json` beside `NAME.wasm`.
pub(crate) fn signature_path(package: &Path) -> PathBuf {
    package.with_extension("sigstore.json")
}

/// Verifies a package file with the bundle beside it (or elsewhere).
pub(crate) fn verify_file(package: &Path, signature: Option<&Path>, trust: &Trust) -> Outcome<VerifiedPackage> {
    verify_with_bundle(package, signature, trust).map(|(package, _)| package)
}

/// The same, and the bytes of the bundle that verified it: whoever keeps the package keeps these.
pub(crate) fn verify_with_bundle(
    package: &Path,
    signature: Option<&Path>,
    trust: &Trust,
) -> Outcome<(VerifiedPackage, Vec<u8>)> {
    let signature = signature.map_or_else(|| signature_path(package), Path::to_path_buf);
    let bytes = read_package(package)?;
    let bundle = read_signature(package, &signature)?;
    let verified = carapace_registry::verify(bytes, &bundle, trust);
    let verified = verified.map_err(|e| Failure::from(e.denial()).context(package.display()))?;
    // Where packages lie by their digest, another one of the same publisher must not take a place.
    match package.file_stem().and_then(|stem| stem.to_str()?.parse::<Digest>().ok()) {
        Some(named) if named != verified.digest() => {
            let why = format!("{} is called by another digest than its own, {}", package.display(), verified.digest());
            Err(Failure::coded(Exit::Refused, "E-TRUST-007", why).help("get it again from where it came"))
        }
        _ => Ok((verified, bundle)),
    }
}

/// Reads a package file: a plain one, and no more of it than a package may have.
pub(crate) fn read_package(file: &Path) -> Outcome<Vec<u8>> {
    let max = carapace_registry::package::MAX_BYTES;
    files::read_ordinary(file, max as u64).map_err(|e| match e {
        ReadError::TooLarge(_) => {
            let why = format!("{} is larger than a package may be ({max} bytes)", file.display());
            Failure::coded(Exit::Refused, "E-TRUST-001", why)
        }
        e => Failure::new(Exit::Failed, format!("cannot read {}: {e}", file.display())),
    })
}

/// Reads the signature of a package.
pub(crate) fn read_signature(package: &Path, signature: &Path) -> Outcome<Vec<u8>> {
    let max = carapace_registry::bundle::MAX_BYTES as u64;
    files::read_ordinary(signature, max).map_err(|e| {
        Failure::new(Exit::Refused, format!("{} has no signature ({}: {e})", package.display(), signature.display()))
            .help(format!("carapace plugin sign {}", package.display()))
    })
}

/// Reads a file that the owner named, of at most `max` bytes.
pub(crate) fn read(file: &Path, max: usize) -> Outcome<Vec<u8>> {
    files::read_ordinary(file, max as u64).or_fail(format!("cannot read {}", file.display()))
}

/// Reads a manifest that the owner named.
pub(crate) fn read_manifest(file: &Path) -> Outcome<String> {
    let text = read(file, carapace_contract::manifest::MAX_BYTES)?;
    String::from_utf8(text).or_fail(format!("cannot read {}", file.display()))
}

/// Writes a file that others may read: a crash leaves the old one or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Outcome {
    files::replace_public(path, bytes).or_fail(format!("cannot write {}", path.display()))
}

/// The packages of a bundle directory: those that its index names, by the code that reads any registry's; or, where it has none,
/// every `.wasm` file in it.
pub(crate) fn bundle_in(dir: &Path, trust: &Trust) -> Outcome<Vec<PathBuf>> {
    let id: Name = BUNDLED.parse().or_fail("the bundle's registry")?;
    match index::ready(dir, &id, &trust.publishers)? {
        Some(packages) => Ok(packages),
        None => packages_in(dir),
    }
}

/// The `.wasm` files of a directory, sorted.
pub(crate) fn packages_in(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot read the bundle {}: {e}", dir.display()))
            .help("`cargo xtask components` builds it; `--bundle DIR` names another")
    })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == "wasm"))
        .collect();
    files.sort();
    Ok(files)
}

/// Writes a file that only its owner may read. Fails if it exists.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Outcome {
    use std::io::Write;
    let what = || format!("cannot write {}", path.display());
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path).or_fail(what())?;
    file.write_all(bytes).and_then(|()| file.sync_all()).or_fail(what())
}
