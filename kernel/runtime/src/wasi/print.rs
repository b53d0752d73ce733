//! Standard output and error: whole lines, handed on.

use bytes::Bytes;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// A line longer than this is handed on in pieces, bytes.
const MAX_LINE: usize = 4 << 10;
/// What may be written at once, bytes.
const PIECE: usize = 64 << 10;

/// Takes what a guest prints.
pub trait Printed: Send + Sync {
    /// One line, without its end. `error`: to standard error.
    fn line(&self, error: bool, line: &str);
}

/// One of the two streams. Clones write to the same line.
#[derive(Clone)]
pub(super) struct Stream(Arc<Mutex<Begun>>);

struct Begun {
    printed: Arc<dyn Printed>,
    error: bool,
    line: Vec<u8>,
}

impl Stream {
    pub(super) fn new(printed: Arc<dyn Printed>, error: bool) -> Self {
        Self(Arc::new(Mutex::new(Begun { printed, error, line: Vec::new() })))
    }

    fn take(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
    }
}

impl Begun {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let ended = piece.ends_with(b"\n");
            self.line.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if ended || self.line.len() >= MAX_LINE {
                self.hand_on();
            }
        }
    }

    fn hand_on(&mut self) {
        let line = std::mem::take(&mut self.line);
        // An empty line has no piece.
        for piece in line.chunks(MAX_LINE) {
            self.printed.line(self.error, &String::from_utf8_lossy(piece));
        }
    }
}

/// What was begun when the guest ended is a line too.
impl Drop for Begun {
    fn drop(&mut self) {
        self.hand_on();
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
    // Not through a task of its own: what was written must be there when the guest ends.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PIECE)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Printed for Seen {
        fn line(&self, error: bool, line: &str) {
            self.0.lock().unwrap().push(format!("{error} {line}"));
        }
    }

    #[test]
    fn lines_are_handed_on_whole_if_they_say_anything_and_the_last_one_without_its_end() {
        let seen = Arc::new(Seen::default());
        let stream = Stream::new(seen.clone(), true);
        stream.take(b"one\ntw");
        stream.take(b"o\n\nrest");
        assert_eq!(*seen.0.lock().unwrap(), ["true one", "true two"]);
        drop(stream);
        assert_eq!(seen.0.lock().unwrap().last().unwrap(), "true rest");
    }

    #[test]
    fn a_line_without_end_costs_no_memory_without_end() {
        let seen = Arc::new(Seen::default());
        let stream = Stream::new(seen.clone(), false);
        stream.take(&vec![b'x'; 3 * MAX_LINE]);
        assert_eq!(stream.0.lock().unwrap().line.len(), 0);
        assert_eq!(seen.0.lock().unwrap().len(), 3);
    }
}
