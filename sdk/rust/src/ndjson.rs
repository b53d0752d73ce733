//! JSON values, one a line (<https://github.com/ndjson/ndjson-spec>), from chunks cut anywhere.

use crate::http::{self, Response, Stage};
use serde::de::DeserializeOwned;

/// Longest line, bytes.
pub const MAX: usize = 8 << 20;

/// A line longer than [`MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Reads lines from bytes. Empty ones are skipped; what a line holds is for the caller to parse.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
}

impl Reader {
    /// Takes bytes; appends the lines they complete.
    ///
    /// # Errors
    /// A line longer than [`MAX`].
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<String>) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|b| *b == b'\n');
            let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + piece.len() > MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(piece);
            if end.is_none() {
                break;
            }
            out.extend(self.take());
            bytes = rest.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    /// The stream ended: a last line without its line feed counts, and may be cut.
    pub fn finish(mut self) -> Option<String> {
        self.take()
    }

    fn take(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_start_matches('\u{feff}').trim();
        (!text.is_empty()).then(|| text.to_owned())
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
        serde_json::from_str(&line).map_err(|e| {
            let excerpt: String = line.chars().take(200).collect();
            let text = format!("the server sent a line that cannot be read ({e}): {excerpt}");
            http::Error::new(crate::Error::Unavailable(text), Stage::Answered)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        for chunk in chunks {
            reader.push(chunk, &mut out).unwrap();
        }
        out.extend(reader.finish());
        out
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_empty_ones_are_skipped() {
        assert_eq!(read([b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"b\":2}\n".as_slice()]), ["{\"a\":1}", "{\"b\":2}"]);
    }

    #[test]
    fn a_last_line_without_its_end_counts() {
        assert_eq!(read([b"{}\n{\"a\":".as_slice()]), ["{}", "{\"a\":"]);
        assert!(read([b" \r\n".as_slice()]).is_empty());
    }

    #[test]
    fn a_stream_cut_at_every_byte_reads_the_same() {
        let text = "{\"t\":\"grün 日本\"}\r\n\n{\"t\":\"👋\"}\n[1]".as_bytes();
        let whole = read([text]);
        assert_eq!(whole.len(), 3);
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(read([a, b]), whole, "cut at {cut}");
        }
        assert_eq!(read(text.chunks(1)), whole);
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let (mut reader, mut out, chunk) = (Reader::default(), Vec::new(), vec![b'x'; 1 << 20]);
        assert_eq!((0..9).try_for_each(|_| reader.push(&chunk, &mut out)), Err(TooLong));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_is_cut(lines in prop::collection::vec("[^\r\n]{0,9}", 0..9), size in 1usize..9) {
            let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
            let kept: Vec<&str> = lines.iter().map(|l| l.trim_start_matches('\u{feff}').trim()).filter(|l| !l.is_empty()).collect();
            prop_assert_eq!(read(text.as_bytes().chunks(size)), kept);
        }
    }
}
