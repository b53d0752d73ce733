//! Keys, publishers and package files of the state directory.

use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_config::StatePaths;
use carapace_contract::{Digest, Name};
use carapace_registry::keyless::TrustedRoot;
use carapace_registry::{DenyList, PublisherBook, SigningKey, Trust, VerifiedPackage};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The publisher of what is built here.
pub(crate) const LOCAL: &str = "local";

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
    let signature = signature.map_or_else(|| signature_path(package), Path::to_path_buf);
    let bytes = read_package(package)?;
    let bundle = read_up_to(&signature, carapace_registry::bundle::MAX_BYTES).map_err(|e| {
        Failure::new(Exit::Refused, format!("{} has no signature ({}: {e})", package.display(), signature.display()))
            .help(format!("carapace plugin sign {}", package.display()))
    })?;
    carapace_registry::verify(bytes, &bundle, trust).map_err(|e| Failure::from(e.denial()).context(package.display()))
}

/// Reads a package file: a plain one, and no more of it than a package may have.
pub(crate) fn read_package(file: &Path) -> Outcome<Vec<u8>> {
    let max = carapace_registry::package::MAX_BYTES;
    let bytes = read_up_to(file, max).or_fail(format!("cannot read {}", file.display()))?;
    if bytes.len() > max {
        let why = format!("{} is larger than a package may be ({max} bytes)", file.display());
        return Err(Failure::coded(Exit::Refused, "E-TRUST-001", why));
    }
    Ok(bytes)
}

/// At most `max` bytes and one more, which tells that there are more. Nothing is waited for: a pipe or a device is no file.
fn read_up_to(file: &Path, max: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where an installed package lies.
pub(crate) fn installed(paths: &StatePaths, digest: &Digest) -> PathBuf {
    paths.packages().join(format!("{}.wasm", digest.hex()))
}

/// Copies a verified package and its bundle into the state directory.
pub(crate) fn install(paths: &StatePaths, from: &Path, package: &VerifiedPackage) -> Outcome {
    make_private_dir(&paths.packages())?;
    let to = installed(paths, &package.digest());
    // The verified bytes, not the file again: it may have changed since.
    write_whole(&to, package.bytes())?;
    let bundle = std::fs::read(signature_path(from)).or_fail("cannot read the signature again")?;
    write_whole(&signature_path(&to), &bundle)
}

/// Puts a verified package and the bundle it was verified with where installed ones lie. Without a row that names it, it is nothing.
pub(crate) fn stage(paths: &StatePaths, package: &VerifiedPackage, signature: &Path) -> Outcome {
    let bundle = read_up_to(signature, carapace_registry::bundle::MAX_BYTES).or_fail("cannot read the signature")?;
    stage_bytes(paths, package, &bundle)
}

/// The same with the bundle's bytes.
pub(crate) fn stage_bytes(paths: &StatePaths, package: &VerifiedPackage, bundle: &[u8]) -> Outcome {
    make_private_dir(&paths.packages())?;
    let to = installed(paths, &package.digest());
    write_whole(&to, package.bytes())?;
    write_whole(&signature_path(&to), bundle)
}

/// Puts the signature that lies beside `from` beside the installed package, if it is another one.
pub(crate) fn renew_signature(paths: &StatePaths, from: &Path, package: &VerifiedPackage) -> Outcome {
    let to = signature_path(&installed(paths, &package.digest()));
    let new = std::fs::read(signature_path(from)).or_fail("cannot read the signature again")?;
    if std::fs::read(&to).is_ok_and(|old| old == new) { Ok(()) } else { write_whole(&to, &new) }
}

/// Writes beside and renames, so that a crash leaves the old file or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Outcome {
    let what = || format!("cannot write {}", path.display());
    let beside = path.with_extension("tmp");
    std::fs::write(&beside, bytes).or_fail(what())?;
    std::fs::File::open(&beside).and_then(|f| f.sync_all()).or_fail(what())?;
    std::fs::rename(&beside, path).or_fail(what())
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
