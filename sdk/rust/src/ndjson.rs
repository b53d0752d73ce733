//! Lines of JSON (<https://github.com/ndjson/ndjson-spec>), from chunks cut anywhere.

use crate::http::{self, Response, Stage};
use serde::de::DeserializeOwned;

/// Longest line, bytes.
pub const MAX: usize = 8 << 20;

/// A line longer than [`MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Reads lines from bytes.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
}

impl Reader {
    /// Takes bytes; appends the lines they complete. Empty lines are left out.
    ///
    /// # Errors
    /// A line is too long.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), TooLong> {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (piece, rest) = bytes.split_at(end);
            self.take(piece)?;
            bytes = rest.get(1..).unwrap_or_default();
            out.extend(self.line());
        }
        self.take(bytes)
    }

    /// The stream ended: the last line may lack its end.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        self.line()
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + piece.len() > MAX {
            return Err(TooLong);
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        (!line.iter().all(u8::is_ascii_whitespace)).then_some(line)
    }
}

/// The values of a response, each as it arrives.
pub fn values<T: DeserializeOwned>(response: &Response) -> impl Iterator<Item = Result<T, http::Error>> + '_ {
    crate::stream::items(
        response,
        Some(Reader::default()),
        |reader, bytes, out| reader.push(bytes, out).map_err(|TooLong| "a line of more than 8 MiB"),
        |reader, out| out.extend(reader.finish()),
    )
    .map(|line| {
        let line = line?;
        serde_json::from_slice(&line).map_err(|e| {
            let excerpt: String = String::from_utf8_lossy(&line).chars().take(200).collect();
            let text = format!("the server sent a line that cannot be read ({e}): {excerpt}");
            http::Error::new(crate::Error::Unavailable(text), Stage::Answered)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<String> {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        for chunk in chunks {
            reader.push(chunk, &mut out).unwrap();
        }
        out.extend(reader.finish());
        out.into_iter().map(|l| String::from_utf8(l).unwrap()).collect()
    }

    #[test]
    fn a_stream_cut_at_every_byte_reads_the_same() {
        let text = "{\"a\":\"ü\"}\r\n\n{\"b\":2}\n[3]".as_bytes();
        assert_eq!(read(&[text]), ["{\"a\":\"ü\"}\r", "{\"b\":2}", "[3]"]);
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(read(&[a, b]), read(&[text]), "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let (mut reader, mut out, chunk) = (Reader::default(), Vec::new(), vec![b'x'; 1 << 20]);
        assert_eq!((0..9).try_for_each(|_| reader.push(&chunk, &mut out)), Err(TooLong));
    }
}
