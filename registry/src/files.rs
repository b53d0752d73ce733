//! Files: read with a cap, written whole or not at all, held while they are changed; state is readable by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// At most `max` bytes of a file; `None` if it does not exist.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {max} bytes")));
    }
    Ok(Some(bytes))
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing has that name.
    #[error("there is no such file")]
    Missing,
    /// A directory, a device, a pipe; or a link, where none is followed.
    #[error("it is no ordinary file")]
    NotAFile,
    /// Above the cap.
    #[error("it is larger than {0} bytes, the most that is read")]
    TooLarge(u64),
    /// The system's own words.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::NotADirectory => Self::NotAFile,
            _ => Self::Io(e),
        }
    }
}

/// At most `max` bytes of an ordinary file that the owner named; a link is followed, a pipe is not waited for.
///
/// # Errors
/// See [`ReadError`].
pub fn read_ordinary(path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    read_opened(options.open(path)?, max)
}

/// At most `max` bytes of the ordinary file `name` below `dir`, a directory that strangers may have filled: no link is
/// followed on the way, and what was looked at is what is read. `name` has `/` between its parts.
///
/// # Errors
/// See [`ReadError`].
#[cfg(unix)]
pub fn read_below(dir: &Path, name: &str, max: u64) -> Result<Vec<u8>, ReadError> {
    use rustix::fs::{Mode, OFlags, open, openat};
    use rustix::io::Errno;
    let system = |e| match e {
        Errno::LOOP => ReadError::NotAFile,
        e => ReadError::from(io::Error::from(e)),
    };
    let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = open(dir, directory, Mode::empty()).map_err(system)?;
    let (folders, file) = name.rsplit_once('/').map_or(("", name), |(folders, file)| (folders, file));
    for folder in folders.split('/').filter(|f| !f.is_empty()) {
        if matches!(folder, "." | "..") {
            return Err(ReadError::NotAFile);
        }
        at = openat(&at, folder, directory | OFlags::NOFOLLOW, Mode::empty()).map_err(system)?;
    }
    let plain = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    read_opened(File::from(openat(&at, file, plain, Mode::empty()).map_err(system)?), max)
}

/// The same, where a link can only be looked for before.
#[cfg(not(unix))]
pub fn read_below(dir: &Path, name: &str, max: u64) -> Result<Vec<u8>, ReadError> {
    let mut path = dir.to_path_buf();
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        let meta = fs::symlink_metadata(&path)?;
        let fits = if parts.peek().is_some() { meta.is_dir() } else { meta.is_file() };
        if !fits || matches!(part, "." | "..") {
            return Err(ReadError::NotAFile);
        }
    }
    read_ordinary(&path, max)
}

fn read_opened(file: File, max: u64) -> Result<Vec<u8>, ReadError> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(ReadError::NotAFile);
    }
    // Told by its length where that is so; what grows meanwhile is cut off.
    if meta.len() > max {
        return Err(ReadError::TooLarge(max));
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(ReadError::TooLarge(max)) } else { Ok(bytes) }
}

/// A file that one process at a time reads, changes and writes back. Let go when dropped, or when its holder dies.
#[derive(Debug)]
pub struct Held(#[allow(dead_code, reason = "the lock lives as long as the file is open")] File);

/// Waits until nobody else holds `path`, and holds it. The lock is a file beside it that stays.
///
/// # Errors
/// The directory cannot be written.
pub fn hold(path: &Path) -> io::Result<Held> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let file = options.open(path.with_file_name(format!(".{name}.lock")))?;
    file.lock()?;
    Ok(Held(file))
}

/// A new file, for its owner alone or (where a registry is served by another user) for everybody to read.
fn new_file(private: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if private { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = private;
    options
}

fn write_new(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let mut file = new_file(private).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a file that must not exist yet.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_new(path, bytes, true)
}

/// Replaces a file that is its owner's alone: a crash leaves the old one or the new one, never half of either.
///
/// # Errors
/// It cannot be written; then the old one stands.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, true)
}

/// The same for a file that others may read.
///
/// # Errors
/// It cannot be written; then the old one stands.
pub fn replace_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, false)
}

fn replace_with(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let directory = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary: PathBuf = directory.join(format!(".{name}.{}", hex::encode(random)));
    let written = write_new(&temporary, bytes, private).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that matters is the first one.
        fs::remove_file(&temporary).ok();
    }
    written?;
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Whether others than the owner may read it.
#[cfg(unix)]
pub(crate) fn is_exposed(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Whether others than the owner may read it: not asked where files have no mode.
#[cfg(not(unix))]
pub(crate) fn is_exposed(_path: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn below_a_directory_no_link_is_followed_and_nothing_but_a_file_is_read() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let read = |name: &str| read_below(inside.path(), name, 8);
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir(inside.path().join("packages")).unwrap();
        fs::write(inside.path().join("packages/good"), "12345678").unwrap();
        fs::write(inside.path().join("long"), "123456789").unwrap();
        symlink(outside.path(), inside.path().join("linked")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("link")).unwrap();
        assert_eq!(read("packages/good").unwrap(), b"12345678");
        for bad in ["linked/secret", "link", "packages", "packages/../link", "long/x", "./long"] {
            assert!(matches!(read(bad), Err(ReadError::NotAFile)), "{bad}");
        }
        assert!(matches!(read("long"), Err(ReadError::TooLarge(8))));
        assert!(matches!(read("packages/none"), Err(ReadError::Missing)));
        assert!(matches!(read_below(Path::new("/dev"), "zero", 8), Err(ReadError::NotAFile)));
        assert_eq!(read_ordinary(&inside.path().join("link"), 8).unwrap(), b"secret");
        assert!(matches!(read_ordinary(Path::new("/dev/zero"), 8), Err(ReadError::NotAFile)));
    }

    #[test]
    fn what_one_holds_another_waits_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.json");
        let held = hold(&path).unwrap();
        let beside = File::open(dir.path().join(".book.json.lock")).unwrap();
        assert!(beside.try_lock().is_err());
        drop(held);
        beside.try_lock().unwrap();
    }
}
