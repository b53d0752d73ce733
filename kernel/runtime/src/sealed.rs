//! Bytes that nobody can change any more, this process included.
//!
//! On Linux they live in a memfd sealed against writing and resizing: what was authenticated is what is mapped,
//! even if someone owns the file they came from. Elsewhere they are a private copy in memory.

use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The largest artefact, bytes.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

pub(crate) struct Sealed {
    #[cfg(target_os = "linux")]
    file: std::fs::File,
    #[cfg(not(target_os = "linux"))]
    bytes: Vec<u8>,
    len: u64,
}

#[cfg(target_os = "linux")]
impl Sealed {
    /// Copies everything from `source`, then seals the copy.
    pub(crate) fn new(source: &mut dyn Read) -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        let fd = memfd_create("carapace-aot", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(fd);
        let len = io::copy(&mut source.take(MAX_BYTES + 1), &mut file)?;
        if len > MAX_BYTES {
            return Err(io::Error::other("the artefact is too large"));
        }
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self { file, len })
    }

    /// Reads the sealed bytes, piece by piece.
    pub(crate) fn each(&self, mut piece: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        while at < self.len {
            let n = self.file.read_at(&mut buffer, at)?;
            let got = buffer.get(..n).filter(|b| !b.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
            piece(got)?;
            at += got.len() as u64;
        }
        Ok(())
    }

    #[allow(unsafe_code, reason = "mapping compiled code is the one thing that cannot be checked by the type system")]
    pub(crate) fn map(&self, engine: &Engine) -> wasmtime::Result<Component> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        if std::path::Path::new(&path).exists() {
            // SAFETY: the bytes are native code made by this crate's compiler: they come straight from it, or from
            // the cache after their MAC was checked *in this memfd*. The seals keep them as they are for as long as
            // they are mapped, whoever holds a descriptor.
            return unsafe { Component::deserialize_file(engine, path) };
        }
        // Without /proc the memfd cannot be reopened; a private copy of the sealed bytes is as good.
        let mut bytes = Vec::with_capacity(usize::try_from(self.len)?);
        self.each(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        // SAFETY: as above; the copy is owned by the engine from here on.
        unsafe { Component::deserialize(engine, bytes) }
    }
}

#[cfg(not(target_os = "linux"))]
impl Sealed {
    /// Copies everything from `source`.
    pub(crate) fn new(source: &mut dyn Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let len = source.take(MAX_BYTES + 1).read_to_end(&mut bytes)? as u64;
        if len > MAX_BYTES {
            return Err(io::Error::other("the artefact is too large"));
        }
        Ok(Self { bytes, len })
    }

    /// Reads the bytes.
    pub(crate) fn each(&self, mut piece: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        piece(&self.bytes)
    }

    #[allow(unsafe_code, reason = "mapping compiled code is the one thing that cannot be checked by the type system")]
    pub(crate) fn map(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are native code made by this crate's compiler: they come straight from it, or from the
        // cache after the MAC over exactly this private copy was checked. The engine makes its own copy of them.
        unsafe { Component::deserialize(engine, &self.bytes) }
    }
}

impl Sealed {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// SHA-256 of the sealed bytes.
    pub(crate) fn sha256(&self) -> io::Result<[u8; 32]> {
        let mut hash = Sha256::new();
        self.each(|piece| {
            hash.update(piece);
            Ok(())
        })?;
        Ok(hash.finalize().into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn sealed_bytes_cannot_be_written_or_resized() {
        let mut sealed = Sealed::new(&mut b"native code".as_slice()).unwrap();
        assert!(sealed.file.write_all(b"other").is_err());
        assert!(sealed.file.set_len(0).is_err());
        assert!(sealed.file.set_len(100).is_err());
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&sealed.file));
        let reopened = std::fs::OpenOptions::new().write(true).open(path);
        assert!(reopened.is_err() || reopened.unwrap().write_all(b"x").is_err());
        assert_eq!(sealed.sha256().unwrap(), <[u8; 32]>::from(Sha256::digest(b"native code")));
    }
}
