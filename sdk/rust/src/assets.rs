//! Read-only files that belong to the package, such as a model's weights. The signed manifest pins each by its digest.

use crate::{Error, host};
use serde::{Deserialize, Serialize};

/// The most that one [`read`] gives, bytes.
pub const MAX_READ: usize = 1 << 20;

/// An asset's size and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Bytes.
    pub size: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// What is known about an asset.
///
/// # Errors
/// [`NotFound`](Error::NotFound) if the owner's machine does not have the file yet; the text says how to bring it.
pub fn describe(name: &str) -> Result<Info, Error> {
    host::asset_describe(name)
}

/// At most `max` bytes ([`MAX_READ`]) from `offset`; an empty list is the end.
///
/// # Errors
/// As [`describe`].
pub fn read(name: &str, offset: u64, max: usize) -> Result<Vec<u8>, Error> {
    host::asset_read(name, offset, u32::try_from(max.min(MAX_READ)).unwrap_or(u32::MAX))
}

/// An asset as a [`std::io::Read`] and [`std::io::Seek`].
///
/// # Errors
/// As [`describe`].
pub fn open(name: &str) -> Result<Asset, Error> {
    Ok(Asset { size: describe(name)?.size, name: name.to_owned(), at: 0 })
}

/// An open asset. Reads are not buffered: each is a call into the kernel.
#[derive(Debug, Clone)]
pub struct Asset {
    name: String,
    size: u64,
    at: u64,
}

impl Asset {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl std::io::Read for Asset {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let bytes = read(&self.name, self.at, out.len()).map_err(std::io::Error::other)?;
        let n = bytes.len().min(out.len());
        let (Some(to), Some(from)) = (out.get_mut(..n), bytes.get(..n)) else { return Ok(0) };
        to.copy_from_slice(from);
        self.at += n as u64;
        Ok(n)
    }
}

impl std::io::Seek for Asset {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            std::io::SeekFrom::Start(n) => Some(n),
            std::io::SeekFrom::End(n) => self.size.checked_add_signed(n),
            std::io::SeekFrom::Current(n) => self.at.checked_add_signed(n),
        };
        self.at =
            at.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidInput, "a place before the beginning"))?;
        Ok(self.at)
    }
}
