//! Where a file's bytes come from, and reading them in order without holding the file.

use std::fmt;

/// Bytes asked of a [`Source`] at once, unless one value needs more.
const PIECE: usize = 1 << 20;

/// A file that can be read in ranges. Nobody asks for all of it.
pub trait Source {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// At most `max` bytes (never 0, at most 1 MiB) from `offset` on. Fewer are fine; an empty answer is the end.
    ///
    /// # Errors
    /// Whatever keeps the bytes from coming, in words.
    fn read(&mut self, offset: u64, max: usize) -> Result<Vec<u8>, String>;
}

/// A file in memory, for tests and small models.
impl Source for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }
    fn read(&mut self, offset: u64, max: usize) -> Result<Vec<u8>, String> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        Ok(rest.get(..max).unwrap_or(rest).to_vec())
    }
}

/// A file of the operating system, for native tools and tests.
impl Source for std::fs::File {
    fn size(&self) -> u64 {
        self.metadata().map_or(0, |m| m.len())
    }
    fn read(&mut self, offset: u64, max: usize) -> Result<Vec<u8>, String> {
        use std::io::{Read, Seek, SeekFrom};
        self.seek(SeekFrom::Start(offset)).map_err(|e| e.to_string())?;
        let mut bytes = Vec::with_capacity(max);
        self.take(max as u64).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes)
    }
}

/// Why a model cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The source failed.
    Read(String),
    /// The bytes are no sound GGUF file, or contradict themselves.
    Malformed(String),
    /// A sound file that needs what this crate does not do.
    Unsupported(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(why) => write!(f, "the model file cannot be read: {why}"),
            Self::Malformed(why) => write!(f, "the model file is damaged or is no GGUF file: {why}"),
            Self::Unsupported(why) => write!(f, "the model file is of a kind that is not supported: {why}"),
        }
    }
}

impl std::error::Error for LoadError {}

pub(crate) fn malformed<T>(why: impl Into<String>) -> Result<T, LoadError> {
    Err(LoadError::Malformed(why.into()))
}

pub(crate) fn unsupported<T>(why: impl Into<String>) -> Result<T, LoadError> {
    Err(LoadError::Unsupported(why.into()))
}

/// Reads a [`Source`] forwards through one buffer of about 1 MiB.
pub(crate) struct Cursor<'s, S> {
    source: &'s mut S,
    size: u64,
    /// Where `buffer` begins in the file.
    base: u64,
    buffer: Vec<u8>,
    /// Consumed bytes of `buffer`.
    used: usize,
}

impl<'s, S: Source> Cursor<'s, S> {
    pub(crate) fn new(source: &'s mut S) -> Self {
        let size = source.size();
        Self { source, size, base: 0, buffer: Vec::new(), used: 0 }
    }

    /// The next byte's offset.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.used as u64
    }

    /// Bytes from here to the end.
    pub(crate) fn left(&self) -> u64 {
        self.size.saturating_sub(self.position())
    }

    /// Continues at `offset`.
    pub(crate) fn seek(&mut self, offset: u64) {
        match offset.checked_sub(self.base).and_then(|ahead| usize::try_from(ahead).ok()) {
            Some(ahead) if ahead <= self.buffer.len() => self.used = ahead,
            _ => {
                self.buffer.clear();
                (self.base, self.used) = (offset, 0);
            }
        }
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&[u8], LoadError> {
        if self.buffer.len() - self.used < n {
            self.fill(n)?;
        }
        let from = self.used;
        self.used += n;
        self.buffer.get(from..from + n).ok_or_else(|| LoadError::Malformed("the file ends too early".into()))
    }

    fn fill(&mut self, n: usize) -> Result<(), LoadError> {
        // Checked before anything is allocated: a length in a file is only a claim.
        if n as u64 > self.left() {
            return malformed(format!(
                "it ends too early: {n} bytes are wanted at {}, {} are left",
                self.position(),
                self.left()
            ));
        }
        self.buffer.drain(..self.used);
        self.base += self.used as u64;
        self.used = 0;
        while self.buffer.len() < n {
            let bytes = self.source.read(self.base + self.buffer.len() as u64, PIECE).map_err(LoadError::Read)?;
            if bytes.is_empty() {
                return malformed("it is shorter than its stated size");
            }
            if self.buffer.is_empty() {
                self.buffer = bytes;
            } else {
                self.buffer.extend_from_slice(&bytes);
            }
        }
        Ok(())
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        self.take(N)?.try_into().map_err(|_| LoadError::Malformed("the file ends too early".into()))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, LoadError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, LoadError> {
        self.array().map(u64::from_le_bytes)
    }
}
