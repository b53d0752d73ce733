//! `wasi:http`: a request is taken out of the guest's hands whole, and leaves the way every request leaves.

use crate::bindings::{ResponseBody, types};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::Frame;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Bytes of a response that are asked for at once.
const PIECE: u32 = 64 << 10;

/// A request through `wasi:http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// Where to, as the guest wrote it.
    pub url: url::Url,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// The longest wait for the response's head.
    pub timeout: Option<Duration>,
}

/// Its response.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers as the guest may see them.
    pub headers: Vec<(String, String)>,
    /// The rest.
    pub body: Box<dyn ResponseBody>,
}

/// Why there is none, in the contract's words; WASI has room for the kind only.
pub type RequestError = types::Error;

/// How requests leave. `host` checks the grant and hands them to egress.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Sends one.
    async fn send(&self, request: Request) -> Result<Response, RequestError>;
}

pub(crate) struct Hooks {
    pub(super) requests: Option<Arc<dyn Requests>>,
    pub(super) max_body: u64,
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(hyper::Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(&mut self, request: hyper::Request<WasiBody>, options: Option<RequestOptions>, _: Io) -> Sending {
        let (requests, max_body) = (self.requests.clone(), self.max_body);
        Box::new(async move {
            let requests = requests.ok_or(Error::HttpRequestDenied)?;
            let response = requests.send(whole(request, options, max_body).await?).await.map_err(error)?;
            Ok((answer(response)?, Box::new(async { Ok(()) }) as Io))
        })
    }
}

async fn whole(
    request: hyper::Request<WasiBody>,
    options: Option<RequestOptions>,
    max_body: u64,
) -> Result<Request, Error> {
    let (head, body) = request.into_parts();
    let limited = Limited::new(body, usize::try_from(max_body).unwrap_or(usize::MAX));
    let body = limited.collect().await.map_err(|_| Error::HttpRequestBodySize(Some(max_body)))?.to_bytes().to_vec();
    let mut headers = Vec::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        let value = value.to_str().map_err(|_| Error::HttpProtocolError)?;
        // The body is whole: its length is known to whoever sends it.
        if name != hyper::header::CONTENT_LENGTH {
            headers.push((name.as_str().to_owned(), value.to_owned()));
        }
    }
    Ok(Request {
        method: head.method.to_string(),
        url: head.uri.to_string().parse().map_err(|_| Error::HttpRequestUriInvalid)?,
        headers,
        body,
        timeout: options.and_then(|o| o.first_byte_timeout),
    })
}

fn answer(response: Response) -> Result<hyper::Response<WasiBody>, Error> {
    let mut head = hyper::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        head = head.header(name, value);
    }
    let pieces = stream::unfold(Some(response.body), |body| async move {
        let mut body = body?;
        match body.read(PIECE).await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some((Ok(Frame::data(Bytes::from(bytes))), Some(body))),
            Err(e) => Some((Err(error(e)), None)),
        }
    });
    head.body(StreamBody::new(pieces).boxed_unsync()).map_err(|_| Error::HttpProtocolError)
}

fn error(e: RequestError) -> Error {
    match e {
        RequestError::Denied(_) => Error::HttpRequestDenied,
        RequestError::Limit(_) => Error::HttpResponseBodySize(None),
        RequestError::Invalid(_) => Error::HttpRequestUriInvalid,
        RequestError::NotFound(_) => Error::DestinationNotFound,
        RequestError::Unavailable(_) => Error::DestinationUnavailable,
        RequestError::Timeout(_) => Error::HttpResponseTimeout,
        RequestError::Cancelled => Error::ConnectionTerminated,
        RequestError::Other(text) => Error::InternalError(Some(text)),
    }
}
