//! Files that belong to packages and are too large to stand in them: kept under their digest, checked before they are used.
//!
//! A manifest pins each asset by SHA-256 and size. A file gets in only if it is that file ([`AssetFiles::add`],
//! [`AssetFiles::finish`]), and is hashed again before the first read of a process, and whenever it changed since.

use carapace_contract::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Bytes hashed or copied between two reports of progress.
const STEP: usize = 1 << 20;

/// Why a file is not taken or not read.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// There is no such file here.
    #[error("it is not on this machine")]
    Missing,
    /// It ends before, or goes on after, the bytes that were signed.
    #[error("it has {found} bytes, and the signed manifest says {wanted}")]
    Size {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        wanted: u64,
    },
    /// Another file of the same size.
    #[error("its digest is {found}, and the signed manifest says {wanted}")]
    Digest {
        /// Of what is there.
        found: Digest,
        /// Of what was signed.
        wanted: Digest,
    },
    /// The file system said no.
    #[error("{what} {path}: {source}")]
    Io {
        /// `cannot read`, …
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl AssetError {
    /// The file is not there at all; every other error is about one that is.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}

/// A file that is what its manifest says.
#[derive(Debug)]
pub struct Asset {
    file: File,
    size: u64,
}

impl Asset {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// At most `max` bytes from `offset`; empty at and after the end. Blocks on the disk.
    ///
    /// # Errors
    /// The file system's.
    pub fn read_at(&self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; max.min(left)];
        read_exact_at(&self.file, &mut bytes, offset)?;
        Ok(bytes)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = bytes.split_at_mut(n).1;
        offset += n as u64;
    }
    Ok(())
}

/// What tells whether a file is still the one that was hashed.
type Stamp = (u64, Option<SystemTime>, u64);

fn stamp(meta: &fs::Metadata) -> Stamp {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(meta);
    #[cfg(not(unix))]
    let inode = 0;
    (meta.len(), meta.modified().ok(), inode)
}

/// The directory of assets. Shared by all packages: the same file is kept once.
#[derive(Debug)]
pub struct AssetFiles {
    dir: PathBuf,
    checked: Mutex<HashMap<Digest, (Stamp, Arc<Asset>)>>,
}

impl AssetFiles {
    /// In `dir`, which is made when the first file comes.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), checked: Mutex::default() }
    }

    /// Where a file lies or would lie.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// Where a download of it collects, until it is whole.
    pub fn part(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}.part", digest.hex()))
    }

    /// Whether a file of that name and size is here. It is not hashed for that.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.path(digest)).is_ok_and(|m| m.is_file() && m.len() == size)
    }

    /// Opens a file, hashed by this process since it last changed. Blocks: hashing reads all of it.
    ///
    /// # Errors
    /// It is missing, or another one than was signed.
    pub fn open(&self, digest: &Digest, size: u64) -> Result<Arc<Asset>, AssetError> {
        let path = self.path(digest);
        // Held while hashing, so that callers at the same time hash once.
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(AssetError::Missing),
            Err(e) => return Err(AssetError::io("cannot open", &path)(e)),
        };
        let now = stamp(&file.metadata().map_err(AssetError::io("cannot look at", &path))?);
        if let Some((_, asset)) = checked.get(digest).filter(|(then, _)| *then == now) {
            return Ok(asset.clone());
        }
        copy_checked(&mut file, &path, &mut io::sink(), &path, digest, size, &mut |_| {})?;
        let asset = Arc::new(Asset { file, size });
        checked.insert(*digest, (now, asset.clone()));
        Ok(asset)
    }

    /// Takes a copy of `from` if it is that file; `progress` hears the bytes copied so far. Blocks.
    ///
    /// # Errors
    /// It is another file, or cannot be copied. What was there before stays.
    pub fn add(
        &self,
        from: &Path,
        digest: &Digest,
        size: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), AssetError> {
        self.make_dir()?;
        let mut source = File::open(from).map_err(AssetError::io("cannot open", from))?;
        let found = source.metadata().map_err(AssetError::io("cannot look at", from))?.len();
        if found != size {
            return Err(AssetError::Size { found, wanted: size });
        }
        let beside = self.dir.join(format!("{}.{}.tmp", digest.hex(), std::process::id()));
        let _ = fs::remove_file(&beside);
        let copied = create(&beside)
            .map_err(AssetError::io("cannot write", &beside))
            .and_then(|mut to| copy_checked(&mut source, from, &mut to, &beside, digest, size, progress).map(|()| to))
            .and_then(|to| to.sync_all().map_err(AssetError::io("cannot write", &beside)))
            .and_then(|()| self.keep(&beside, digest));
        if copied.is_err() {
            let _ = fs::remove_file(&beside);
        }
        copied
    }

    /// Opens a download for appending, alone; what an earlier one left is kept. The second is its length.
    ///
    /// # Errors
    /// Another process fetches the same file, or it cannot be written.
    pub fn resume(&self, digest: &Digest) -> Result<(File, u64), AssetError> {
        self.make_dir()?;
        let path = self.part(digest);
        let file = append(&path).map_err(AssetError::io("cannot write", &path))?;
        file.try_lock().map_err(|e| AssetError::io("another download is writing", &path)(e.into()))?;
        let length = file.metadata().map_err(AssetError::io("cannot look at", &path))?.len();
        Ok((file, length))
    }

    /// Makes a whole download the file, if it is that file. Blocks.
    ///
    /// # Errors
    /// It is another file; then it is removed, because going on with it would not help.
    pub fn finish(&self, digest: &Digest, size: u64) -> Result<(), AssetError> {
        let path = self.part(digest);
        let mut file = File::open(&path).map_err(AssetError::io("cannot open", &path))?;
        let checked = copy_checked(&mut file, &path, &mut io::sink(), &path, digest, size, &mut |_| {});
        if checked.is_err() {
            fs::remove_file(&path).map_err(AssetError::io("cannot remove", &path))?;
        }
        checked?;
        self.keep(&path, digest)
    }

    /// Removes a file and what a download of it left. Says whether there was any.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(&self, digest: &Digest) -> Result<bool, AssetError> {
        let mut found = false;
        for path in [self.path(digest), self.part(digest)] {
            match fs::remove_file(&path) {
                Ok(()) => found = true,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(AssetError::io("cannot remove", &path)(e)),
            }
        }
        Ok(found)
    }

    fn make_dir(&self) -> Result<(), AssetError> {
        fs::create_dir_all(&self.dir).map_err(AssetError::io("cannot make", &self.dir))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&self.dir, private).map_err(AssetError::io("cannot make private", &self.dir))?;
        }
        Ok(())
    }

    fn keep(&self, from: &Path, digest: &Digest) -> Result<(), AssetError> {
        let to = self.path(digest);
        fs::rename(from, &to).map_err(AssetError::io("cannot put in place", &to))
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    private(&mut options).open(path)
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    private(&mut options).open(path)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Copies and hashes; an error if what was read is not what was signed.
fn copy_checked(
    from: &mut File,
    from_path: &Path,
    to: &mut dyn Write,
    to_path: &Path,
    wanted: &Digest,
    size: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(), AssetError> {
    let (mut hash, mut total, mut buffer) = (Sha256::new(), 0_u64, vec![0; STEP]);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(AssetError::io("cannot read", from_path)(e)),
        };
        let piece = buffer.get(..n).unwrap_or_default();
        hash.update(piece);
        to.write_all(piece).map_err(AssetError::io("cannot write", to_path))?;
        total += n as u64;
        if total > size {
            return Err(AssetError::Size { found: total, wanted: size });
        }
        progress(total);
    }
    if total != size {
        return Err(AssetError::Size { found: total, wanted: size });
    }
    let found = Digest::from_bytes(hash.finalize().into());
    if found == *wanted { Ok(()) } else { Err(AssetError::Digest { found, wanted: *wanted }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        dir: tempfile::TempDir,
        files: AssetFiles,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let files = AssetFiles::new(dir.path().join("assets"));
            Self { dir, files }
        }

        fn source(&self, bytes: &[u8]) -> PathBuf {
            let path = self.dir.path().join("source");
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    #[test]
    fn a_file_that_is_the_signed_one_is_taken_and_read_in_ranges() {
        let (world, bytes) = (World::new(), b"weights of a model".repeat(100_000));
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let mut heard = 0;
        world.files.add(&world.source(&bytes), &digest, size, &mut |n| heard = n).unwrap();
        assert_eq!(heard, size);
        let asset = world.files.open(&digest, size).unwrap();
        assert_eq!(asset.read_at(3, 4).unwrap(), &bytes[3..7]);
        assert_eq!(asset.read_at(size - 2, 100).unwrap(), &bytes[bytes.len() - 2..]);
        assert!(asset.read_at(size, 1).unwrap().is_empty() && asset.read_at(u64::MAX, 1).unwrap().is_empty());
    }

    #[test]
    fn another_file_is_refused_by_size_or_digest_and_leaves_nothing() {
        let world = World::new();
        let digest = Digest::of(b"right");
        let error = world.files.add(&world.source(b"wrong"), &digest, 5, &mut |_| {}).unwrap_err();
        assert!(matches!(error, AssetError::Digest { .. }), "{error}");
        let error = world.files.add(&world.source(b"righ"), &digest, 5, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("4 bytes") && error.to_string().contains("says 5"), "{error}");
        assert!(!world.files.has(&digest, 5) && world.files.open(&digest, 5).unwrap_err().is_missing());
        assert_eq!(fs::read_dir(world.dir.path().join("assets")).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_was_changed_on_the_disk_is_not_read() {
        let world = World::new();
        let digest = Digest::of(b"right");
        world.files.add(&world.source(b"right"), &digest, 5, &mut |_| {}).unwrap();
        world.files.open(&digest, 5).unwrap();
        fs::remove_file(world.files.path(&digest)).unwrap();
        fs::write(world.files.path(&digest), b"wrong").unwrap();
        let error = world.files.open(&digest, 5).unwrap_err();
        assert!(matches!(error, AssetError::Digest { .. }), "{error}");
    }

    #[test]
    fn a_download_goes_on_where_it_stopped_and_only_one_writes() {
        let world = World::new();
        let digest = Digest::of(b"right");
        let (mut part, length) = world.files.resume(&digest).unwrap();
        assert_eq!(length, 0);
        part.write_all(b"rig").unwrap();
        let error = world.files.resume(&digest).unwrap_err();
        assert!(error.to_string().contains("another download"), "{error}");
        drop(part);
        let (mut part, length) = world.files.resume(&digest).unwrap();
        assert_eq!(length, 3);
        part.write_all(b"ht").unwrap();
        drop(part);
        world.files.finish(&digest, 5).unwrap();
        assert_eq!(world.files.open(&digest, 5).unwrap().size(), 5);
    }

    #[test]
    fn a_download_that_is_another_file_is_thrown_away() {
        let world = World::new();
        let digest = Digest::of(b"right");
        world.files.resume(&digest).unwrap().0.write_all(b"wrong").unwrap();
        assert!(matches!(world.files.finish(&digest, 5), Err(AssetError::Digest { .. })));
        assert!(!world.files.part(&digest).exists() && !world.files.remove(&digest).unwrap());
    }
}
