//! A response: decompressed by us under a ratio cap, counted, scanned, and pulled by the reader.

use crate::audit::Ticket;
use crate::error::{EgressError, Failure, shown};
use crate::leak::Scrubber;
use crate::transport::describe;
use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

/// What the kernel asks servers for when the guest says nothing.
pub(crate) const ACCEPT_ENCODING: &str = "gzip, deflate, br, zstd";
/// How much larger a body may become by decompression…
const MAX_RATIO: u64 = 100;
/// …once it is larger than this.
const RATIO_FREE: u64 = 1 << 20;
/// Largest window of a zstd frame: 8 MiB, as RFC 9659 has it.
const ZSTD_WINDOW_LOG: u32 = 23;
const CHUNK: usize = 16 << 10;

type Reader = Pin<Box<dyn AsyncBufRead + Send>>;

/// One layer of `Content-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings of a response, innermost last; what cannot be decoded is refused, because it could not be scanned.
pub(crate) fn codings<'v>(values: impl Iterator<Item = &'v str>) -> Result<Vec<Coding>, EgressError> {
    let mut codings = Vec::new();
    for token in values.flat_map(|v| v.split(',')).map(str::trim).filter(|t| !t.is_empty()) {
        match token.to_ascii_lowercase().as_str() {
            "identity" | "aws-chunked" => {}
            "gzip" | "x-gzip" => codings.push(Coding::Gzip),
            "deflate" => codings.push(Coding::Deflate),
            "br" => codings.push(Coding::Brotli),
            "zstd" => codings.push(Coding::Zstd),
            other => {
                return Err(EgressError::Unavailable(format!(
                    "the server answered in the content encoding `{}`, which cannot be decoded here",
                    shown(other)
                )));
            }
        }
    }
    if codings.len() > 2 {
        return Err(EgressError::Unavailable("the answer is compressed more than twice".to_owned()));
    }
    codings.reverse();
    Ok(codings)
}

/// Bytes as they arrive, decoded.
enum Source {
    Plain(BoxStream<'static, std::io::Result<Bytes>>),
    Coded(Reader),
    Whole(Option<Bytes>),
}

/// The way in: decoding, caps, deadlines. Not scanned yet.
pub(crate) struct Inbound {
    source: Source,
    /// Codings still to be put on; `deflate` looks at the first byte, hence not before the first read.
    codings: Vec<Coding>,
    pub(crate) wire: Arc<AtomicU64>,
    decoded: u64,
    limit: u64,
    /// How to raise it.
    raising: String,
    idle: Duration,
    cancel: CancellationToken,
}

impl Inbound {
    pub(crate) fn new(
        response: reqwest::Response,
        codings: Vec<Coding>,
        (limit, raising): (u64, String),
        idle: Duration,
        cancel: CancellationToken,
    ) -> Self {
        let wire = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&wire);
        let stream = response.bytes_stream().map(move |chunk| match chunk {
            Ok(bytes) => {
                counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(bytes)
            }
            Err(e) => Err(std::io::Error::other(describe(&e.without_url()))),
        });
        Self { source: Source::Plain(stream.boxed()), codings, wire, decoded: 0, limit, raising, idle, cancel }
    }

    /// The next decoded bytes; none at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        let idle = self.idle;
        let cancel = self.cancel.clone();
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(EgressError::Cancelled),
            next = tokio::time::timeout(idle, self.pull()) => next,
        };
        let bytes = next
            .map_err(|_| EgressError::Timeout(format!("the server sent nothing for {} s", idle.as_secs_f32())))?
            .map_err(|e| EgressError::Unavailable(format!("the answer broke off: {e}")))?;
        let Some(bytes) = bytes else { return Ok(None) };
        self.decoded += bytes.len() as u64;
        if self.decoded > self.limit {
            return Err(EgressError::Limit(format!(
                "the answer is larger than {} bytes; {}",
                self.limit, self.raising
            )));
        }
        let wire = self.wire.load(Ordering::Relaxed);
        if self.decoded > RATIO_FREE && self.decoded / MAX_RATIO > wire {
            return Err(EgressError::Limit(format!(
                "the answer grew more than {MAX_RATIO} times while decompressing ({wire} bytes to {})",
                self.decoded
            )));
        }
        Ok(Some(bytes))
    }

    async fn pull(&mut self) -> std::io::Result<Option<Bytes>> {
        if !self.codings.is_empty() {
            let Source::Plain(stream) = std::mem::replace(&mut self.source, Source::Whole(None)) else {
                return Ok(None);
            };
            let mut reader: Reader = Box::pin(StreamReader::new(stream));
            let codings = std::mem::take(&mut self.codings);
            // If this future is dropped here the body is gone, which an ended call does not mind.
            if reader.fill_buf().await?.is_empty() {
                return Ok(None);
            }
            for coding in codings {
                reader = decoder(coding, reader).await?;
            }
            self.source = Source::Coded(reader);
        }
        match &mut self.source {
            Source::Plain(stream) => loop {
                match stream.next().await.transpose()? {
                    Some(bytes) if bytes.is_empty() => {}
                    other => return Ok(other),
                }
            },
            Source::Coded(reader) => {
                let mut buffer = BytesMut::with_capacity(CHUNK);
                let read = reader.read_buf(&mut buffer).await?;
                Ok((read > 0).then(|| buffer.freeze()))
            }
            Source::Whole(bytes) => Ok(bytes.take()),
        }
    }

    /// All of it, for capture rules.
    pub(crate) async fn whole(&mut self, cap: usize) -> Result<Bytes, EgressError> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > cap {
                return Err(EgressError::Limit(format!(
                    "the answer is larger than the {} MiB that can be searched for values to capture",
                    cap >> 20
                )));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// Puts a body back that was taken with [`Inbound::whole`].
    pub(crate) fn put_back(&mut self, body: Bytes) {
        self.decoded = 0;
        self.limit = u64::MAX;
        self.wire.fetch_max(body.len() as u64, Ordering::Relaxed);
        self.source = Source::Whole(if body.is_empty() { None } else { Some(body) });
    }
}

async fn decoder(coding: Coding, mut reader: Reader) -> std::io::Result<Reader> {
    fn buffered(decoder: impl AsyncRead + Send + 'static) -> Reader {
        Box::pin(tokio::io::BufReader::with_capacity(CHUNK, decoder))
    }
    Ok(match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            decoder.multiple_members(true);
            buffered(decoder)
        }
        Coding::Brotli => buffered(BrotliDecoder::new(reader)),
        Coding::Zstd => buffered(ZstdDecoder::with_params(reader, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)])),
        Coding::Deflate => {
            // The standard says zlib; some servers send raw deflate. A zlib stream begins with compression method 8.
            let first = reader.fill_buf().await?.first().copied().unwrap_or_default();
            if first & 0x0f == 8 && first >> 4 <= 7 {
                buffered(ZlibDecoder::new(reader))
            } else {
                buffered(DeflateDecoder::new(reader))
            }
        }
    })
}

/// What a server answered. The body is pulled with [`Response::read`]; dropping it closes the exchange.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers in lower case, scanned; framing and compression headers are gone.
    pub headers: Vec<(String, String)>,
    /// Where it came from, after redirects: without query, user info or credentials; of a handle only the origin.
    pub url: String,
    pub(crate) inbound: Inbound,
    pub(crate) scrubber: Scrubber,
    pub(crate) ready: Bytes,
    pub(crate) ended: bool,
    pub(crate) failed: Option<EgressError>,
    pub(crate) ticket: Option<Ticket>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Response {
    /// The next bytes, at most `max` (at least one); an empty answer is the end. Waits at most the door's idle time.
    ///
    /// # Errors
    /// A cap was reached, the server stalled or broke off, the run was stopped, or `max` is 0. An error stays.
    pub async fn read(&mut self, max: usize) -> Result<Bytes, Failure> {
        if max == 0 {
            return Err(Failure { error: EgressError::Invalid("`max` must be at least 1".to_owned()), sent: true });
        }
        if let Some(error) = &self.failed {
            return Err(Failure { error: error.clone(), sent: true });
        }
        while self.ready.is_empty() && !self.ended {
            match self.inbound.chunk().await {
                Ok(Some(chunk)) => self.ready = self.scrubber.push(&chunk).into(),
                Ok(None) => {
                    self.ready = self.scrubber.finish().into();
                    self.ended = true;
                    self.close(None);
                }
                Err(error) => {
                    let error = error.map_text(|t| self.scrubber.redact(t));
                    self.failed = Some(error.clone());
                    // Hangs up now, not when the reader gets round to dropping this.
                    self.inbound.source = Source::Whole(None);
                    self.close(Some(&error));
                    return Err(Failure { error, sent: true });
                }
            }
        }
        let take = max.min(self.ready.len());
        Ok(self.ready.split_to(take))
    }

    /// Hands the record in, once.
    fn close(&mut self, error: Option<&EgressError>) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.record.bytes_in += self.inbound.wire.load(Ordering::Relaxed);
            ticket.record.leak_found |= self.scrubber.found();
            if let Some(error) = error {
                ticket.failed(error);
            }
        }
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.close(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_undone_from_the_outside_in() {
        assert_eq!(codings(["gzip, br"].into_iter()).unwrap(), [Coding::Brotli, Coding::Gzip]);
        assert_eq!(codings(["identity", ""].into_iter()).unwrap(), []);
    }

    #[test]
    fn what_cannot_be_decoded_cannot_be_scanned_and_is_refused() {
        let error = codings(["compress"].into_iter()).unwrap_err();
        assert!(error.to_string().contains("`compress`"), "{error}");
        assert!(codings(["gzip, gzip, gzip"].into_iter()).is_err());
    }
}
