//! Compiled artefacts on disk.
//!
//! An artefact is native code, so the file alone is worth nothing: an index entry beside it says which package,
//! profile and engine it was made for and what it hashes to, under an HMAC-SHA256 whose key never leaves the state
//! directory. What does not match is dropped, compiled again and reported; it is never mapped. The engine's
//! compatibility hash covers its version, its settings and the CPU features it compiled for.

use crate::sealed::Sealed;
use carapace_contract::Digest;
use carapace_contract::limits::Profile;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Changes with the layout of index entries.
const FORMAT: &str = "carapace-aot/1";
const MAX_INDEX: u64 = 4 << 10;

/// What an artefact is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) digest: Digest,
    pub(crate) profile: Profile,
    pub(crate) compatibility: [u8; 32],
}

impl Key {
    fn profile(&self) -> &'static str {
        match self.profile {
            Profile::Metered => "metered",
            Profile::Cpu => "cpu",
        }
    }
    fn name(&self) -> String {
        let compatibility: String = hex::encode(self.compatibility).chars().take(16).collect();
        format!("{}-{}-{compatibility}", self.digest.hex(), self.profile())
    }
}

/// One index entry: `<name>.json` beside `<name>.cwasm`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    format: String,
    digest: Digest,
    profile: String,
    compatibility: String,
    length: u64,
    sha256: String,
    mac: String,
}

/// The cache could not be opened or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source} [E-RUNTIME-041]; check that the state directory is writable and yours", path.display())]
pub struct CacheError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What the cache did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Artefacts found and authentic.
    pub hits: u64,
    /// Artefacts not there.
    pub misses: u64,
    /// Artefacts or index entries that were not what was written, hence dropped.
    pub rejected: u64,
}

/// The directory `aot/` of the state directory, and the key `aot.key` (0600) beside it.
pub struct AotCache {
    dir: PathBuf,
    key: [u8; 64],
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
}

impl std::fmt::Debug for AotCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AotCache").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl AotCache {
    /// Opens or makes the cache of a state directory. A missing or damaged key is replaced, which empties the cache.
    ///
    /// # Errors
    /// The directory or the key cannot be read or made.
    pub fn open(state: &Path) -> Result<Self, CacheError> {
        let dir = state.join("aot");
        private_dir(&dir).map_err(|source| CacheError { what: "make", path: dir.clone(), source })?;
        let path = state.join("aot.key");
        let key = load_or_make_key(&path).map_err(|source| CacheError { what: "use", path, source })?;
        Ok(Self { dir, key, hits: AtomicU64::new(0), misses: AtomicU64::new(0), rejected: AtomicU64::new(0) })
    }

    /// What it did so far.
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
        }
    }

    /// Removes the artefacts of every other package.
    ///
    /// # Errors
    /// The directory cannot be read; files that cannot be removed are left.
    pub fn retain(&self, packages: &BTreeSet<Digest>) -> Result<(), CacheError> {
        let wrap = |source| CacheError { what: "read", path: self.dir.clone(), source };
        for entry in std::fs::read_dir(&self.dir).map_err(wrap)? {
            let entry = entry.map_err(wrap)?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|n| n.get(..64)).and_then(|n| n.parse::<Digest>().ok());
            if !digest.is_some_and(|d| packages.contains(&d)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// The artefact, sealed and authenticated; `None` if there is none or it is not authentic.
    pub(crate) fn get(&self, key: &Key) -> Option<Sealed> {
        match self.read(key) {
            Ok(Some(sealed)) => {
                self.hits.fetch_add(1, Relaxed);
                Some(sealed)
            }
            Ok(None) => {
                self.misses.fetch_add(1, Relaxed);
                None
            }
            Err(reason) => {
                self.drop_entry(key, &reason);
                None
            }
        }
    }

    /// Drops an authentic artefact that the engine refused, and says so.
    pub(crate) fn unmappable(&self, key: &Key, error: &wasmtime::Error) {
        self.drop_entry(key, &format!("the engine refused it: {error:#}"));
    }

    fn drop_entry(&self, key: &Key, reason: &str) {
        self.rejected.fetch_add(1, Relaxed);
        let _ = std::fs::remove_file(self.path(key, "json"));
        let _ = std::fs::remove_file(self.path(key, "cwasm"));
        tracing::warn!(
            code = "E-RUNTIME-040",
            package = %key.digest,
            reason,
            "a compiled artefact was dropped and is compiled again; it was never mapped"
        );
    }

    fn path(&self, key: &Key, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", key.name()))
    }

    fn read(&self, key: &Key) -> Result<Option<Sealed>, String> {
        let mut text = String::new();
        let index = match open(&self.path(key, "json")) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(format!("its index entry cannot be read: {e}")),
        };
        index.take(MAX_INDEX).read_to_string(&mut text).map_err(|e| format!("its index entry cannot be read: {e}"))?;
        let entry: Entry = serde_json::from_str(&text).map_err(|_| "its index entry is damaged".to_owned())?;
        let mac = hex::decode(&entry.mac).map_err(|_| "its index entry is damaged".to_owned())?;
        // Against what was asked for, not what the entry says: an entry under another's name fails too.
        self.mac(key, entry.length, &entry.sha256)
            .verify_slice(&mac)
            .map_err(|_| "its index entry is not authentic".to_owned())?;
        let mut file = open(&self.path(key, "cwasm")).map_err(|e| format!("it cannot be read: {e}"))?;
        let sealed = Sealed::new(&mut file).map_err(|e| format!("it cannot be read: {e}"))?;
        let hash = sealed.sha256().map_err(|e| format!("it cannot be read: {e}"))?;
        if sealed.len() != entry.length || hex::encode(hash) != entry.sha256 {
            return Err("it is not what was compiled".to_owned());
        }
        Ok(Some(sealed))
    }

    /// Keeps an artefact: file first, then its index entry, each by a rename.
    pub(crate) fn put(&self, key: &Key, artefact: &Sealed) -> Result<(), CacheError> {
        let path = self.path(key, "cwasm");
        let wrap = |source| CacheError { what: "write", path: path.clone(), source };
        let sha256 = hex::encode(artefact.sha256().map_err(wrap)?);
        let entry = Entry {
            format: FORMAT.to_owned(),
            digest: key.digest,
            profile: key.profile().to_owned(),
            compatibility: hex::encode(key.compatibility),
            length: artefact.len(),
            mac: hex::encode(self.mac(key, artefact.len(), &sha256).finalize().into_bytes()),
            sha256,
        };
        let index = serde_json::to_vec(&entry).map_err(|e| wrap(e.into()))?;
        self.replace(&path, |file| artefact.each(|piece| file.write_all(piece))).map_err(wrap)?;
        self.replace(&self.path(key, "json"), |file| file.write_all(&index)).map_err(wrap)
    }

    fn replace(&self, path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let temporary = self.dir.join(format!(".{}.tmp", hex::encode(random)));
        let written = (|| {
            let mut file = private_file(&temporary)?;
            write(&mut file)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)?;
            sync_dir(&self.dir)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    fn mac(&self, key: &Key, length: u64, sha256: &str) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.key.into());
        for part in [
            FORMAT.as_bytes(),
            key.digest.as_bytes(),
            key.profile().as_bytes(),
            &key.compatibility,
            &length.to_be_bytes(),
            sha256.as_bytes(),
        ] {
            // Lengths keep the parts apart.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    regular(OpenOptions::new().read(true).custom_flags(nofollow).open(path)?)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    regular(File::open(path)?)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn private_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(unix)]
fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

fn load_or_make_key(path: &Path) -> io::Result<[u8; 64]> {
    // Two attempts: another kernel may make the key between our look and our write.
    for _ in 0..2 {
        match open(path) {
            Ok(file) => {
                let mut key = Vec::new();
                file.take(65).read_to_end(&mut key)?;
                match key.try_into() {
                    Ok(key) => return Ok(key),
                    Err(_) => {
                        tracing::warn!(code = "E-RUNTIME-044", path = %path.display(), "the cache's key was damaged and is made anew");
                        std::fs::remove_file(path)?;
                    }
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let mut key = [0; 64];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        match private_file(path) {
            Ok(mut file) => {
                file.write_all(&key)?;
                file.sync_all()?;
                return Ok(key);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other("another process keeps changing it"))
}
